"""Runs every int8 graph of a folder by an engine library, and prints how far each is from what it should make.

    run_graphs.py FOLDER LIBRARY

Beside NAME.onnx (x -> y) lies NAME.npz with `x` and `y`. Errors are in steps of 1/255 of y's largest value.
"""

import json
import sys
from pathlib import Path

import numpy as np

from edgeflow.ir.plan import Port
from edgeflow.runtime.backends import open_backend

folder, library = sys.argv[1:]
backend = open_backend(library, threads=1)
errors = {}
for path in sorted(Path(folder).glob("*.onnx")):
    stored = np.load(path.with_suffix(".npz"))
    x, wanted = stored["x"], stored["y"]
    (made,) = [np.empty_like(wanted)]
    ports = [[Port(name, name, array.shape[1:], "float32")] for name, array in (("x", x), ("y", wanted))]
    backend.load(path, *ports, {}, "int8", batch=1).run([x], [made])
    errors[path.stem] = float(np.abs(made - wanted).max() / np.abs(wanted).max() * 255)
print(json.dumps(errors))
