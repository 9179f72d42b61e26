from __future__ import annotations

import pytest
import torch

from edgeflow.flow import cost
from edgeflow.models.cain_sd import WholeFrame, build
from edgeflow.training.cain_sd import RECIPES, Curriculum
from edgeflow.training.data import load_clips
from edgeflow.training.evaluate import evaluate
from edgeflow.training.samples import Samples


@pytest.fixture(scope="module")
def clip(clips, tmp_path_factory):
    return load_clips(clips, tmp_path_factory.mktemp("cache"), ["upright.mkv"]).training[0]


def test_an_untrained_model_scores_as_the_average_it_starts_from(clip):
    torch.manual_seed(0)
    model = build("tiny")
    Curriculum(model, Samples((clip,), 64, None), RECIPES["tiny"]).start()
    score = evaluate(model, clip, whole=True, most=3)
    assert score.triplets == 3
    assert score.full.psnr == pytest.approx(score.average.psnr, abs=0.01)
    assert score.full.moving < score.full.psnr
    assert sum(score.routes.values()) == 3 * 6


def test_flops_are_those_of_the_routes_taken_and_the_finder(clip):
    model = build("tiny")
    score = evaluate(model, clip, whole=False, most=1)
    size = {"height": 96, "width": 128}
    counted = cost(model, size)
    finder = sum(call.flops for call in counted.calls if call.segment == "sd_finder")
    tiles = sum(counted.table()[route] * count for route, count in score.routes.items())
    assert score.flops_routed == finder + tiles
    assert score.flops_full == sum(call.flops for call in cost(WholeFrame(model), size).calls)
