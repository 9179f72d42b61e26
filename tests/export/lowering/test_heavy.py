"""Segments with more weights than a graph holds: nothing writes a graph with its weights inside, or has onnx do so."""

from __future__ import annotations

import onnx
import pytest
import torch
from torch import nn

from edgeflow.export.compile import compile_model
from edgeflow.export.heavy import MOST_BYTES
from edgeflow.export.precision.rules import HEAVY, fp32_note
from edgeflow.flow import Image, RoutedModule, Tensor
from edgeflow.ir.bundle import GraphEntry, open_bundle
from edgeflow.runtime.check import check
from edgeflow.targets import load

LIGHT = 100_000
"""Bytes; the weights below are 1.4 million."""


class Heavy(RoutedModule):
    inputs = (Image("frame", 16, 16),)
    outputs = (Tensor("y", (600,)),)

    def __init__(self):
        super().__init__()
        self.wide = nn.Sequential(nn.Linear(3, 600), nn.Tanh(), nn.Linear(600, 600))

    def flow(self, f, frame):
        return f.call(self.part, frame)

    def part(self, frame):
        return self.wide(frame.mean((2, 3)))


@pytest.mark.parametrize("target", ["cpu", "openvino-cpu"])
def test_no_graph_is_written_with_its_weights(tmp_path, monkeypatch, target):
    sizes = []

    def watched(library, name):
        real = getattr(library, name)

        def watch(model, *arguments, **options):
            if isinstance(model, onnx.ModelProto):
                sizes.append(model.ByteSize())
            return real(model, *arguments, **options)

        monkeypatch.setattr(library, name, watch)

    watched(onnx.checker, "check_model")
    watched(onnx.shape_inference, "infer_shapes")

    def look(what, done, total):
        sizes.extend(file.stat().st_size for file in tmp_path.rglob("*.onnx"))

    torch.manual_seed(0)
    made = compile_model(Heavy().eval(), load(target), tmp_path / "heavy", reference={}, progress=look)
    look("", 0, 0)
    assert len(sizes) > 4 and max(sizes) < LIGHT
    assert check(open_bundle(made.path)).passed


def test_an_engine_with_too_many_weights_to_convert_stays_single():
    entry = GraphEntry("graphs/a.onnx", ("a",), 3, MOST_BYTES)
    assert fp32_note(entry, False) == ""
    assert fp32_note(GraphEntry("graphs/a.onnx", ("a",), 3, MOST_BYTES + 1), False) == HEAVY
