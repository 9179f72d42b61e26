"""A segment that computes in 16 bits by itself is refused; one that rounds to them is taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgeflow.export.compile import compile_model
from edgeflow.flow import Image, RoutedModule
from edgeflow.ir.errors import ExportError
from edgeflow.runtime import Session
from edgeflow.targets import load


class Model(RoutedModule):
    inputs = (Image("frame", 16, 16),)
    outputs = (Image("picture"),)

    def __init__(self, part):
        super().__init__()
        self.conv, self.part = nn.Conv2d(3, 3, 3, padding=1), part

    def flow(self, f, frame):
        return f.call(self.run, frame)

    def run(self, frame):
        return self.part(self.conv, frame)


def by_autocast(conv, frame):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return conv(frame).float()


def rounded(conv, frame):
    return conv(frame.to(torch.bfloat16).float())


def test_autocast_in_a_segment_is_refused(tmp_path):
    with pytest.raises(ExportError, match=r"segment run: Conv computes in bfloat16 .*--precision"):
        compile_model(Model(by_autocast).eval(), load("cpu"), tmp_path / "a.edgeflow", reference={})


def test_values_may_be_rounded(tmp_path):
    torch.manual_seed(0)
    model = Model(rounded).eval()
    compile_model(model, load("cpu"), tmp_path / "a.edgeflow", reference={})
    frame = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    made = Session(tmp_path / "a.edgeflow")(frame)
    wanted = model(torch.from_numpy(frame).permute(2, 0, 1)[None] / 255)[0].detach().permute(1, 2, 0).numpy()
    assert np.abs(made - np.clip(wanted, 0, 1) * 255).max() < 0.6
