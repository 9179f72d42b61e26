"""How long importing the runtime, opening a bundle and loading its engines take, in fresh processes.

python benchmarks/cold_start.py cain.edgeflow
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import typer
from records import record, save

IMPORT = """
import sys, time
import numpy
start = time.perf_counter()
import edgeflow.runtime
print((time.perf_counter() - start) * 1e3, "torch" in sys.modules)
"""
LOAD = """
import json, sys, time
import numpy
from edgeflow.runtime import Session, open_bundle
start = time.perf_counter()
bundle = open_bundle(sys.argv[1])
opened = time.perf_counter()
session = Session(bundle, library=sys.argv[2])
session.prepare(720, 1280)
loaded = time.perf_counter()
picture = numpy.zeros((720, 1280, 3), numpy.uint8)
session.run(picture, picture)
ran = time.perf_counter()
times = {"open_ms": opened - start, "load_engines_ms": loaded - opened, "first_frame_ms": ran - loaded}
print(json.dumps({name: seconds * 1e3 for name, seconds in times.items()}))
"""


def main(bundle: Path, runs: int = 5, family: str = "cain-sd") -> None:
    """Measure and save results/cold_start.json; exits with 1 if the import is slow or loads torch."""
    imports = [_python(IMPORT).split() for _ in range(runs)]
    import_ms = float(np.median([float(ms) for ms, _ in imports]))
    torch_loaded = any(loaded == "True" for _, loaded in imports)
    records = []
    for library in ("onnxruntime", "openvino"):
        loads = [json.loads(_python(LOAD, str(bundle), library)) for _ in range(runs)]
        medians = {name: float(np.median([load[name] for load in loads])) for name in loads[0]}
        records.append(
            record(
                family=family,
                bundle=bundle.name,
                backend=library,
                import_ms=import_ms,
                torch_loaded=torch_loaded,
                **medians,
            )
        )
        print(
            f"{library}: import {import_ms:.0f} ms beyond numpy, "
            + ", ".join(f"{k} {v:.0f}" for k, v in medians.items())
        )
    save("cold_start", records, ("family", "bundle", "backend"))
    raise SystemExit(1 if torch_loaded or import_ms > 200 else 0)


def _python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


if __name__ == "__main__":
    typer.run(main)
