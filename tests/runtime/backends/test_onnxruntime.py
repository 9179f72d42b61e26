"""What sessions of one process share."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

ROWS = 8_000_000
"""Floats between the layers of one graph: 32 MB."""

CASE = """
import gc, json, sys
from pathlib import Path
import numpy as np
from edgeflow.ir.plan import Port
from edgeflow.runtime.backends import open_backend

def resident():
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3

backend = open_backend("onnxruntime", 2)
ends = ([Port("x", "x", (1,), "float32")], [Port("y", "y", (1,), "float32")])
engines = [backend.load(Path(path), *ends, {}) for path in sys.argv[1:]]
x, y = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
readings = [resident()]
for engine in engines:
    engine.run([x], [y])
    readings.append(resident())
print(json.dumps({"megabytes": readings, "last": float(y[0, 0])}))
"""


def wide(path, gain):
    """y = x * ROWS / 2, by way of 32 MB that hold a product many times, and as many for its sums."""
    nodes = [
        helper.make_node("Expand", ["x", "shape"], ["many"]),
        helper.make_node("Mul", ["many", "gain"], ["product"]),
        helper.make_node("CumSum", ["product", "axis"], ["sums"]),
        helper.make_node("ReduceMax", ["sums", "axes"], ["last"]),
        helper.make_node("Div", ["last", "count"], ["y"]),
    ]
    constants = {
        "shape": np.array([1, ROWS], np.int64),
        "gain": np.array(gain, np.float32),
        "axis": np.array(1, np.int64),
        "axes": np.array([1], np.int64),
        "count": np.array(gain * 2, np.float32),
    }
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1]) for name in "xy"]
    graph = helper.make_graph(
        nodes, "wide", ends[:1], ends[1:], [onnx.numpy_helper.from_array(v, k) for k, v in constants.items()]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return str(path)


def test_memory_between_layers_is_that_of_one_engine(tmp_path):
    """Engines run one after another: a second and a third one take what the first one left."""
    paths = [wide(tmp_path / f"{gain}.onnx", gain) for gain in (1.0, 2.0, 3.0)]
    done = subprocess.run(
        [sys.executable, "-c", CASE, *paths], capture_output=True, text=True, check=True, timeout=120
    )
    found = json.loads(done.stdout)
    first, *others = np.diff(found["megabytes"])
    assert first > 30
    assert all(growth < 0.2 * first for growth in others)
    assert found["last"] == pytest.approx(ROWS / 2, rel=0.5)  # single precision adds up only so far
