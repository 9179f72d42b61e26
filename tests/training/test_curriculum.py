from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeflow.flow import Training, cost
from edgeflow.ir.errors import TrainError
from edgeflow.models.cain_sd import build
from edgeflow.training.cain_sd import RECIPES, Curriculum
from edgeflow.training.data import load_clips
from edgeflow.training.loop import CHECKPOINT, Length, Run
from edgeflow.training.samples import Samples

IDENTITY = {"preset": "tiny", "variant": "SD"}


@pytest.fixture(scope="module")
def training(clips, tmp_path_factory):
    return load_clips(clips, tmp_path_factory.mktemp("cache")).training


def prepare(training, folder: Path, steps: int, variant: str = "SD") -> Run:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = build("tiny", variant).train()
    curriculum = Curriculum(model, Samples(training, 64, rng), RECIPES["tiny"])
    curriculum.start()
    return Run(model, curriculum.stages(), Length(steps), folder, rng, IDENTITY | {"variant": variant})


def stop_after(steps: int):
    """A report that counts, and a question that is answered by yes after so many steps."""
    done = []
    return (lambda *said: done.append(said), lambda: len(done) >= steps)


def never() -> bool:
    return False


@pytest.mark.slow
def test_a_resumed_run_ends_where_an_unbroken_one_does(training, tmp_path):
    whole = prepare(training, tmp_path / "whole", 20)
    stages = []
    assert whole.train(lambda position, *_: stages.append(position.stage), never).finished
    names = ["flow", "exits", "depth-fit", "depth", "scale-fit", "scale"]
    assert list(dict.fromkeys(stages)) == names

    for steps in (5, 9):  # within the stage `exits`, and within a later one
        folder = tmp_path / f"broken-{steps}"
        assert not prepare(training, folder, 20).train(*stop_after(steps)).finished
        again = prepare(training, folder, 20)
        again.rng.random(7)
        assert again.train(lambda *_: None, never).finished
        for name, tensor in whole.model.state_dict().items():
            torch.testing.assert_close(again.model.state_dict()[name], tensor, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize(
    ("variant", "names"),
    [("S", ["flow", "exits", "scale-fit", "scale"]), ("D", ["exits", "depth-fit", "depth"])],
)
def test_a_variant_skips_the_steps_of_what_it_does_not_choose(training, tmp_path, variant, names):
    run = prepare(training, tmp_path, 6, variant)
    assert [stage.name for stage in run.stages] == names
    assert run.train(lambda *_: None, never).finished


def test_only_the_stage_s_own_networks_learn(training, tmp_path):
    run = prepare(training, tmp_path, 20)
    seen: dict[str, dict[str, torch.Tensor]] = {}

    def report(position, *_):
        state = {name: p.detach().clone() for name, p in run.model.named_parameters()}
        seen[position.stage] = state

    run.train(report, never)
    frozen = [name for name in seen["depth"] if name.startswith(("sd_finder.depth_net", "sd_finder.motion"))]
    assert all(torch.equal(seen["depth"][name], seen["scale"][name]) for name in frozen)
    learnt = [name for name in seen["scale"] if name.startswith("sd_finder.scale_net")]
    assert any(not torch.equal(seen["depth"][name], seen["scale"][name]) for name in learnt)


def test_a_checkpoint_may_be_read_by_whom_the_umask_lets(training, tmp_path):
    before = os.umask(0o022)
    try:
        prepare(training, tmp_path, 20).train(*stop_after(1))
    finally:
        os.umask(before)
    assert (tmp_path / CHECKPOINT).stat().st_mode & 0o777 == 0o644


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["truncated", "altered", "other"])
def test_a_bad_checkpoint_is_one_line(training, tmp_path, damage):
    run = prepare(training, tmp_path, 20)
    run.train(*stop_after(1))
    path = tmp_path / CHECKPOINT
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    if damage == "altered":
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    other = prepare(training, tmp_path, 20, "D" if damage == "other" else "SD")
    with pytest.raises(TrainError, match="checkpoint") as caught:
        other.train(lambda *_: None, never)
    assert "\n" not in str(caught.value)


def test_the_log_is_json_lines(training, tmp_path, monkeypatch):
    monkeypatch.setattr("edgeflow.training.loop.LOG_SECONDS", 0.0)
    prepare(training, tmp_path, 20).train(*stop_after(2))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(line["loss"] > 0 for line in lines)


def test_a_loss_that_is_no_number_ends_the_run(training, tmp_path):
    run = prepare(training, tmp_path, 20)
    with torch.no_grad():
        run.model.sd_finder.motion.refiner[0].weight.fill_(float("nan"))
    with pytest.raises(TrainError, match="stage flow"):
        run.train(lambda *_: None, never)


def test_masks_are_one_hot_and_the_resource_term_is_a_hand_count(training):
    model = build("tiny").train()
    curriculum = Curriculum(model, Samples(training, 64, np.random.default_rng(0)), RECIPES["tiny"])
    frames = torch.rand(2, 2, 3, 96, 128)
    result = Training(model, tiles_per_frame=3)(*frames)
    for mask in result.masks.values():
        assert mask.shape[0] == 6
        assert torch.equal(mask.detach().sort(1).values[:, -1], torch.ones(6))
        assert torch.equal(mask.detach().sum(1), torch.ones(6))
    table = cost(model).table("tiles")
    chosen = zip(*(result.masks[name].argmax(1).tolist() for name in ("exit", "scale")), strict=True)
    flops = [table[f"exit={exit + 1},scale={2**scale}"] for exit, scale in chosen]
    expected = RECIPES["tiny"].lambda_depth * sum(flops) / len(flops) / model.preset.tile**2
    assert curriculum.resource(result.masks, "exit").item() == pytest.approx(expected, rel=1e-5)


def test_the_resource_term_moves_only_the_axis_it_charges(training):
    model = build("tiny").train()
    curriculum = Curriculum(model, Samples(training, 64, np.random.default_rng(0)), RECIPES["tiny"])
    result = Training(model)(*torch.rand(2, 1, 3, 96, 128))
    curriculum.resource(result.masks, "exit").backward()
    assert model.sd_finder.depth_net[0].weight.grad.abs().max() > 0
    assert model.sd_finder.scale_net[0].weight.grad is None
