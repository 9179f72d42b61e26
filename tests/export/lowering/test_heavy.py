"""A segment with more weights than a graph holds."""

import pytest
import torch
from torch import nn

from edgeflow.export.lowering import segment
from edgeflow.ir.errors import ExportError


def test_a_segment_with_too_many_weights_says_how_many(monkeypatch):
    monkeypatch.setattr(segment, "MOST_BYTES", 1 << 20)

    class Heavy(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide = nn.Linear(600, 600)

        def forward(self, *inputs):
            return (self.wide(*inputs),)

    with pytest.raises(
        ExportError, match=r"segment wide: holds 0.0 GiB of weights, and a graph holds 2 GiB at most: split"
    ):
        segment.to_onnx(Heavy(), [torch.zeros(1, 600)], [{}], ["out.0"], "segment wide")
