"""Runs a bundle of one image on a frame, and prints what came of it, with the edgeflow that has no torch.

run_bundle.py BUNDLE FRAME.npy LIBRARY
"""

import json
import sys

import numpy as np

from edgeflow.ir.errors import BackendError
from edgeflow.runtime import Session
from edgeflow.runtime.machine import instruction_sets

bundle, frame, library = sys.argv[1:]
said = {"instructions": instruction_sets()}
try:
    said["made"] = Session(bundle, library=library, threads=1)(np.load(frame)).ravel().tolist()
except BackendError as error:
    said["refused"] = str(error)
print(json.dumps(said))
