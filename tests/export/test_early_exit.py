import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from kept_bundles import compile_kept

from edgeflow.flow import Eager
from edgeflow.flow.tensors import to_tensor
from edgeflow.runtime import Session
from edgeflow.targets import load


@pytest.fixture(scope="module")
def example():
    path = Path(__file__).parents[2] / "examples" / "early_exit_classifier.py"
    spec = importlib.util.spec_from_file_location("early_exit_classifier", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a class's source is looked up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("strategy", ["chained", "routes"])
def test_the_example_leaves_at_every_exit_and_saves_what_it_skips(example, strategy, tmp_path):
    torch.manual_seed(1)
    model = example.build()
    for head, scale in zip(model.heads, (200, 150, 1), strict=True):  # sure enough on bright pictures
        head[-1].weight.data.mul_(scale)
    compiled = compile_kept(model, load("cpu"), tmp_path / "c.edgeflow", reference={}, strategy=strategy)
    images = example.pictures(40)[0] * torch.linspace(0, 1, 40).reshape(-1, 1, 1, 1)
    session = Session(compiled.path)
    flops = {}
    for image in images:
        array = (image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        result, wanted = session.run(array), Eager(model)(to_tensor(array))
        assert np.abs(result.outputs[0] - wanted.outputs[0][0].numpy()).max() <= 1e-3
        assert result.trace.regions[0].route == {name: route[0] for name, route in wanted.routes.items()}
        first, second = (route[0] for route in wanted.routes.values())
        flops.setdefault(1 + first + (first and second), set()).add(result.trace.flops)
    assert sorted(flops) == [1, 2, 3] and all(len(found) == 1 for found in flops.values())
    assert max(flops[1]) < max(flops[2]) < max(flops[3])
