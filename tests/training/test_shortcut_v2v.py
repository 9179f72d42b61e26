import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from edgeflow.cli.train import app
from edgeflow.ir.errors import TrainError
from edgeflow.models.shortcut_v2v import build
from edgeflow.models.shortcut_v2v.weights import load_teacher
from edgeflow.models.weights import load_weights
from edgeflow.training.adversarial import PatchDiscriminator, to_fool, to_tell
from edgeflow.training.data import load_clips
from edgeflow.training.perceptual import Features, distance, rotation
from edgeflow.training.samples import Pairs
from edgeflow.training.shortcut_v2v import RECIPES, WEIGHTS, Curriculum

SIZE = (96, 128)


@pytest.fixture
def curriculum(clips, tmp_path):
    torch.manual_seed(0)
    data = load_clips(clips, tmp_path, (), SIZE)
    return Curriculum(
        build("tiny"), Pairs(data.training, np.random.default_rng(0)), RECIPES["tiny"], teach=True
    )


def arguments(clips, run, *more):
    return ["shortcut-v2v", "--data", str(clips), "--run", str(run), "--threads", "1", *more]


@pytest.mark.slow
def test_training_leaves_weights_from_which_another_dependence_takes_its_teacher(clips, tmp_path):
    result = CliRunner().invoke(app, arguments(clips, tmp_path / "a", "--steps", "3", "--json"))
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["preset"], said["variant"], said["teacher"]) == ("tiny", "medium", "trained")
    weights = tmp_path / "a" / "weights.safetensors"
    model = build("tiny")
    assert load_weights(model, weights)["steps"] == str(said["steps"])
    other = build("tiny", "low")
    load_teacher(other, weights)
    frame = torch.rand(1, 3, 32, 48)
    pictures = [m.decode(m.middle(m.encode(frame))) for m in (model, other)]
    assert torch.equal(*pictures)
    again = arguments(clips, tmp_path / "b", "--teacher", str(weights), "--dependence", "low", "--steps", "2")
    result = CliRunner().invoke(app, again)
    assert result.exit_code == 0, result.output
    stages = (tmp_path / "b" / "checkpoint.safetensors").read_bytes()[:4000]
    assert b"block" in stages
    taught = build("tiny", "low")
    load_weights(taught, tmp_path / "b" / "weights.safetensors")
    assert torch.allclose(taught.encode(frame), other.encode(frame), atol=1e-2)  # left alone, but for float16
    with pytest.raises(TrainError, match="preset tiny"):
        load_teacher(build("full"), weights)


def test_every_loss_of_equation_9_reaches_the_block_and_none_the_teacher(curriculum):
    teacher, block, features, critics = (
        curriculum.stages()[1].trained,
        curriculum.model.block,
        curriculum.features,
        (curriculum.picture_critic, curriculum.pair_critic),
    )
    for module in (*teacher, features):
        module.requires_grad_(False)
    loss = curriculum.shortcut()
    assert set(WEIGHTS) <= set(loss.parts)
    for name in WEIGHTS:
        block.zero_grad()
        for critic in critics:
            critic.zero_grad()
        loss.parts[name].backward(retain_graph=True)
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters()), name
        assert all(p.grad is None for critic in critics for p in critic.parameters()), name
    block.zero_grad()
    loss.parts["critics"].backward()
    assert all(p.grad is None for p in block.parameters())
    assert all(p.grad is not None for critic in critics for p in critic.parameters())


def test_the_teacher_learns_to_paint_what_it_is_shown(curriculum):
    trained = [p for module in curriculum.stages()[1].trained for p in module.parameters()]
    optimiser, losses = torch.optim.Adam(trained, 1e-3), []
    for _ in range(12):
        loss = curriculum.paint().total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_a_critic_learns_to_tell_and_a_picture_to_fool_it():
    torch.manual_seed(0)
    critic = PatchDiscriminator(3, 8)
    real, made = torch.rand(2, 3, 24, 24), torch.rand(2, 3, 24, 24) * 0.2
    optimiser = torch.optim.Adam(critic.parameters(), 0.02)
    before = float(to_tell(critic, real, made).detach())
    for _ in range(40):
        optimiser.zero_grad()
        to_tell(critic, real, made).backward()
        optimiser.step()
    assert float(to_tell(critic, real, made).detach()) < 0.7 * before
    assert float(to_fool(critic, real).detach()) < float(to_fool(critic, made).detach())


def test_rotations_can_be_learnt_and_distance_is_one():
    torch.manual_seed(0)
    features = Features()
    crops = torch.rand(4, 3, 32, 32) * torch.linspace(0, 1, 32).reshape(1, 1, 32, 1)  # dark above
    optimiser = torch.optim.Adam(features.parameters(), 3e-3)
    for _ in range(60):
        loss, right = rotation(features, crops)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert right == 1
    assert distance(features, crops, crops) == 0
    with torch.no_grad():
        near, far = (distance(features, crops + x * torch.randn_like(crops), crops) for x in (0.02, 0.3))
    assert 0 < near < far


def test_pairs_are_near_each_other_and_of_one_size(clips, tmp_path):
    data = load_clips(clips, tmp_path, (), SIZE)
    assert {clip.frames.shape[1:3] for clip in data.training} == {SIZE}
    pairs = Pairs(data.training, np.random.default_rng(0)).draw(6, 3)
    assert pairs.shape == (2, 6, 3, *SIZE)
    moved = (pairs[0] - pairs[1]).abs().mean((1, 2, 3))
    assert moved.min() > 0 and moved.max() < 0.2
