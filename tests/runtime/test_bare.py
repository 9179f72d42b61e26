"""The runtime needs numpy and one engine library; nothing else may be imported."""

import subprocess
import sys

import pytest

BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is not there")

sys.meta_path.insert(0, Blocked())
"""
HEAVY = (
    "torch",
    "onnx",
    "onnxscript",
    "onnx_graphsurgeon",
    "safetensors",
    "av",
    "typer",
    "rich",
    "PIL",
    "skimage",
)


def python(code, blocked=()):
    text = BLOCK.format(blocked=set(blocked)) + code
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("module", ["edgeflow", "edgeflow.ir.plan", "edgeflow.runtime", "edgeflow.targets"])
def test_importing_loads_no_heavy_library(module):
    heavy = (*HEAVY, "onnxruntime", "openvino")
    done = python(f"import {module}; print(sorted(set(sys.modules) & {set(heavy)!r}))")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
def test_a_bundle_runs_without_what_made_it(tiny_bundles, library):
    other = {"onnxruntime": "openvino", "openvino": "onnxruntime"}[library]
    code = f"""
import numpy as np
from edgeflow.runtime import Session
frame = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
session = Session({str(tiny_bundles["chained"].path)!r}, library={library!r})
print(session(frame, frame).shape, session.run(frame, frame).trace.flops > 0)
"""
    done = python(code, (*HEAVY, other))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(70, 90, 3) True"


def test_a_missing_engine_library_is_named_with_its_cure(tiny_bundles):
    code = f"""
from edgeflow.ir.errors import BackendError
from edgeflow.runtime import Session
try:
    Session({str(tiny_bundles["chained"].path)!r})
except BackendError as error:
    print(error)
"""
    done = python(code, ("onnxruntime",))
    assert "the engine library onnxruntime is not installed" in done.stdout, done.stderr
    assert 'pip install -e ".[onnxruntime]"' in done.stdout
