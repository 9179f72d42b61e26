"""A pair's router learns where its larger network pays."""

import numpy as np
import pytest
import torch
from torch import nn

from edgeflow.ir.errors import TrainError
from edgeflow.models.st_mfnet import PRESETS, Interpolator, Pair, build
from edgeflow.models.weights import load_weights, write_weights
from edgeflow.training import st_mfnet_router as router
from edgeflow.training.data import load_clips
from edgeflow.training.order import Order
from edgeflow.training.st_mfnet import begin, start


class Still(nn.Module):
    """Takes the frame before: right where nothing moves."""

    def forward(self, before, first, second, after):
        return first


class Sliding(nn.Module):
    """Knows how far things slide: right everywhere."""

    def forward(self, before, first, second, after):
        return first.roll(3, 3)


class Slides:
    """Windows whose pictures slide by 3 pixels from frame to frame, or have no detail across, so that one does not see it."""

    def crops(self, count):
        detail = torch.rand(count, 3, 32, 1 if torch.rand(()) < 0.5 else 32).expand(-1, -1, -1, 32)
        return torch.stack([detail.roll(3 * step, 3) for step in (-2, 0, 1, 2, 4)])


def test_it_learns_where_the_larger_network_pays(monkeypatch):
    monkeypatch.setattr(router, "PATCH", 2)
    monkeypatch.setattr(router, "ENOUGH", 8)
    torch.manual_seed(0)
    pair = build("tiny", "frame")
    pair.network, pair.mini = Sliding(), Still()
    (stage,) = router.Curriculum(pair, Slides(), np.random.default_rng(0)).stages()
    optimiser = torch.optim.Adam(pair.difficulty.parameters(), 1e-2)
    losses = []
    for _ in range(80):
        loss = stage.loss()
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
        losses.append(float(loss.total.detach()))
    assert np.mean(losses[-5:]) < 0.3 * max(losses)
    rows = torch.rand(1, 3, 32, 1).expand(-1, -1, -1, 32)
    moves = torch.rand(1, 3, 32, 32)
    assert pair.score(rows, rows).argmax(1) == 0
    assert pair.score(moves, moves.roll(6, 3)).argmax(1) == 1


def test_errors_are_measured_in_squared_levels():
    pair = build("tiny", "frame")
    pair.network, pair.mini = Sliding(), Still()
    frames = torch.zeros(5, 1, 3, 32, 32)
    frames[2:] = 10 / 255
    found = router.measured(pair, frames)
    assert found.shape == (1, 2, 2, 2)
    torch.testing.assert_close(found, torch.full_like(found, 100.0))


def order(clips, preset, tmp_path, **options):
    data = load_clips(clips, tmp_path)
    return Order(preset, "tile", lambda size: data, np.random.default_rng(0), options)


@pytest.mark.slow
def test_a_pair_is_trained_with_the_networks_that_are_given(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(router, "CROP", 32)
    given = {}
    for option, preset in (("larger", "tiny"), ("smaller", "tiny-mini")):
        torch.manual_seed(len(option))
        network = Interpolator(PRESETS[preset])
        start(network.network)
        given[option] = tmp_path / f"{option}.safetensors"
        write_weights(network, given[option], {"preset": preset, "variant": "alone"}, half=False)
    trainee = begin(order(clips, "tiny", tmp_path, **given))
    assert isinstance(trainee.model, Pair)
    alone = build("tiny-mini")
    load_weights(alone, given["smaller"])
    for name, tensor in alone.network.state_dict().items():
        assert torch.equal(trainee.model.mini.state_dict()[name], tensor)
    with pytest.raises(TrainError, match="not of this model"):
        begin(order(clips, "tiny", tmp_path, larger=given["smaller"], smaller=given["smaller"]))


def test_a_pair_without_weights_says_how_to_get_some(clips, tmp_path):
    with pytest.raises(TrainError, match="full comes without weights: train it by itself first"):
        begin(order(clips, "full", tmp_path))
