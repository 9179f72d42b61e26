"""Activation memory is counted from shapes, and what a process takes is near it."""

import re
import subprocess
import sys

import onnx
import pytest
from kept_bundles import compile_kept
from onnx import TensorProto, helper
from torch import nn

from edgeflow.export.activations import activations
from edgeflow.export.peak_memory import peak_memory
from edgeflow.flow import Flow, Image, RoutedModule
from edgeflow.ir.bundle import open_bundle
from edgeflow.targets import load

WIDTH, HEIGHT, CHANNELS = 512, 384, 32


def _node(kind, reads, makes, name):
    options = {"axis": 1} if kind == "Concat" else {"to": TensorProto.FLOAT} if kind == "Cast" else {}
    return helper.make_node(kind, reads, makes, name, **options)


def graph(tmp_path, *nodes, shape=(1, 2, 4, 8)):
    """A graph file of nodes from `x` to `y`, and the shape of `x`, which the file does not know."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, "h", "w"])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph([_node(*node) for node in nodes], "g", [given], [made]),
        opset_imports=[helper.make_opsetid("", 19)],
    )
    path = tmp_path / "graph.onnx"
    onnx.save(model, path)
    return activations(path, {"x": shape})


X = 2 * 4 * 8 * 4
"""Bytes of `x`."""


def test_a_tensor_lives_until_its_last_reader(tmp_path):
    found = graph(
        tmp_path,
        ("Concat", ["x", "x"], ["a"], "first"),
        ("Concat", ["a", "a"], ["b"], "second"),
        ("Concat", ["b", "x"], ["c"], "third"),
        ("Concat", ["c", "c"], ["y"], "last"),
    )
    # 2 + 4, then 4 + 5 and a has gone; inputs and outputs are not counted.
    assert (found.bytes, found.at, found.unknown) == (9 * X, "third", ())


def test_a_branch_that_is_read_late_is_held_meanwhile(tmp_path):
    found = graph(
        tmp_path,
        ("Concat", ["x", "x"], ["late"], "early"),
        ("Concat", ["x", "x", "x"], ["a"], "other"),
        ("Concat", ["a", "late"], ["y"], "last"),
    )
    assert (found.bytes, found.at) == (5 * X, "other")


def test_what_is_written_in_place_and_what_is_a_view_takes_nothing(tmp_path):
    found = graph(
        tmp_path,
        ("Concat", ["x", "x"], ["a"], "first"),
        ("Relu", ["a"], ["b"], "relu"),
        ("Identity", ["b"], ["c"], "view"),
        ("Concat", ["c", "c"], ["y"], "last"),
    )
    assert found.bytes == 2 * X


def test_what_is_read_again_is_not_written_over(tmp_path):
    found = graph(
        tmp_path,
        ("Concat", ["x", "x"], ["a"], "first"),
        ("Relu", ["a"], ["b"], "relu"),
        ("Concat", ["a", "b"], ["y"], "last"),
    )
    assert found.bytes == 4 * X


def test_shapes_that_only_a_run_knows_are_named(tmp_path):
    found = graph(
        tmp_path,
        ("NonZero", ["x"], ["places"], "search"),
        ("Cast", ["places"], ["y"], "last"),
    )
    assert found.unknown == ("places",)


class Wide(RoutedModule):
    """Three layers with many channels, so that activations are large beside all else."""

    inputs = (Image("frame"),)
    outputs = (Image("made"),)
    size = (HEIGHT, WIDTH)

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, CHANNELS, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, 3, 3, padding=1),
        )

    def flow(self, f: Flow, frame):
        return f.call(self.layers, frame)


MEASURE = """
import re, sys
import numpy as np
from edgeflow.runtime import Session
held = lambda field: int(re.search(field + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
session = Session(sys.argv[1], library=sys.argv[2], threads=1)
session.prepare({height}, {width})
frame = np.zeros(({height}, {width}, 3), np.uint8)
before = held("VmRSS")
for _ in range(3):
    session.run(frame)
print(held("VmHWM") - before)
"""


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wide")
    return {
        target: compile_kept(Wide().eval(), load(target), folder / target, reference={})
        for target in ("cpu", "openvino-cpu")
    }


@pytest.mark.slow
@pytest.mark.parametrize(("target", "library"), [("cpu", "onnxruntime"), ("openvino-cpu", "openvino")])
def test_a_process_takes_about_what_is_counted(wide, target, library):
    """Of the resident set of a process of its own: what it grows by when frames run, from the second run on, too."""
    bundle = open_bundle(wide[target].path)
    plan = next(iter(bundle.manifest.plans.values()))
    counted = peak_memory(bundle, plan, (HEIGHT, WIDTH))
    layer = HEIGHT * WIDTH * CHANNELS * 4
    assert 2 * layer <= counted.bytes < 2.6 * layer and not counted.unknown
    code = MEASURE.format(height=HEIGHT, width=WIDTH)
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle.path), library], capture_output=True, text=True, check=True
    )
    grown = int(re.search(r"\d+", done.stdout)[0])
    assert 0.5 * counted.bytes < grown < 1.8 * counted.bytes
