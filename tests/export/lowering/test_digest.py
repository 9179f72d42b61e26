"""What makes a model another one for an export that goes on where one was interrupted."""

import functools
import importlib
import sys

import numpy as np
import pytest
import torch
from torch import nn

from edgeflow.export.lowering.digest import model_digest


class Settings:
    def __init__(self, gain=1.0):
        self.gain, self.back = gain, self  # a cycle


def scaling(by):
    return lambda x: x * by


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 2, 1)
        self.steps, self.table, self.by_name = [1, 2], torch.ones(3), {"a": np.ones(2)}
        self.settings = Settings()
        self.activation, self.by_its_closure = torch.sigmoid, scaling(2)
        self.by_its_arguments = functools.partial(torch.clamp, min=0)
        self.register_buffer("kept", torch.ones(2), persistent=False)


def grow(model):
    model.steps.append(3)


def tabled(model):
    model.table[1] = 2


def named(model):
    model.by_name["a"][0] = 2


def settled(model):
    model.settings.gain = 2.0


def activated(model):
    model.activation = torch.tanh


def closed_over(model):
    model.by_its_closure = scaling(3)


def bound(model):
    model.by_its_arguments = functools.partial(torch.clamp, min=1)


def buffered(model):
    model.kept[0] = 2


def trained(model):
    model.conv.bias.data[0] += 1


def test_two_models_that_are_alike_are_one():
    assert model_digest(Model()) == model_digest(Model())


@pytest.mark.parametrize(
    "change", [grow, tabled, named, settled, activated, closed_over, bound, buffered, trained, nn.Module.eval]
)
def test_whatever_it_holds_counts(change):
    model = Model()
    before = model_digest(model)
    change(model)
    assert model_digest(model) != before


def test_classes_count_as_they_are():
    def built(by):
        class Scaled(Model):
            def forward(self, x):
                return x * by

        return Scaled()

    assert model_digest(built(2)) == model_digest(built(2)) != model_digest(built(3))
    other = built(2)
    type(other).size = (4, 4)
    assert model_digest(other) != model_digest(built(2))


def test_code_that_its_file_names_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "its_helper.py").write_text("def scale(x):\n    return x * 2\n")
    (tmp_path / "its_model.py").write_text(
        "from torch import nn\nfrom its_helper import scale\n\n\nclass Scaled(nn.Module):\n"
        "    def forward(self, x):\n        return scale(x)\n"
    )
    try:
        model = importlib.import_module("its_model").Scaled()
        before = model_digest(model)
        assert model_digest(model) == before
        (tmp_path / "its_helper.py").write_text("def scale(x):\n    return x * 3\n")
        assert model_digest(model) != before
    finally:
        for name in ("its_model", "its_helper"):
            sys.modules.pop(name, None)
