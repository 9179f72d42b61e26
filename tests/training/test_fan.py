import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from typer.testing import CliRunner

from edgeflow.cli.train import app
from edgeflow.models.fan import build
from edgeflow.models.weights import load_weights
from edgeflow.training.data import load_clips
from edgeflow.training.evaluate_fan import evaluate
from edgeflow.training.fan import RECIPES, Curriculum
from edgeflow.training.motion import Motions, stored_size, training_part


def arguments(clips, run, *more):
    return ["fan", "--data", str(clips), "--run", str(run), "--threads", "1", "--json", *more]


@pytest.fixture
def curriculum(clips, tmp_path):
    torch.manual_seed(0)
    data = load_clips(clips, tmp_path, (), stored_size(64))
    motions = Motions(training_part(data), 16, 64, np.random.default_rng(0))
    return Curriculum(build("tiny").train(), motions, RECIPES["tiny"], np.random.default_rng(0))


@pytest.mark.slow
def test_training_leaves_weights_that_are_judged(clips, tmp_path):
    result = CliRunner().invoke(app, arguments(clips, tmp_path / "a", "--steps", "2"))
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["variant"] == "all"
    model = build("tiny")
    assert load_weights(model, tmp_path / "a" / "weights.safetensors")["steps"] == "2"
    score = evaluate(model, load_clips(clips, tmp_path / "cache").training[0], True, 6)
    assert set(score.right) == set(score.unadapted) == {"4", "8", "16"}
    assert score.right["16"] == score.unadapted["16"] and 0 <= score.right["4"] <= 1


def test_a_network_of_one_length_is_trained_alone(clips, tmp_path):
    result = CliRunner().invoke(app, arguments(clips, tmp_path / "a", "--variant", "8", "--steps", "1"))
    assert result.exit_code == 0, result.output
    model = build("tiny", "8")
    load_weights(model, tmp_path / "a" / "weights.safetensors")
    score = evaluate(model, load_clips(clips, tmp_path / "cache").training[0], True, 6)
    assert set(score.right) == {"8"} and score.right["8"] == score.unadapted["8"]


def test_shorter_lengths_learn_from_the_longest_and_teach_it_nothing(curriculum):
    """Equation 9: cross-entropy of the longest, and divergence from it, through which it does not learn."""
    loss = curriculum.distil()
    assert set(loss.parts) == {"labels", "from_8", "from_4", "right"}
    assert torch.isclose(loss.total, loss.parts["labels"] + loss.parts["from_8"] + loss.parts["from_4"])
    norm = curriculum.model.network.norm.norms
    (loss.parts["from_8"] + loss.parts["from_4"]).backward(retain_graph=True)
    assert all(norm[i].weight.grad.abs().sum() > 0 for i in (0, 1)) and norm[2].weight.grad is None
    curriculum.model.zero_grad()
    loss.parts["labels"].backward()
    assert norm[2].weight.grad.abs().sum() > 0 and norm[0].weight.grad is None


def test_the_divergence_is_equation_8(curriculum):
    model = curriculum.model.eval()
    torch.manual_seed(1)
    curriculum._rng = np.random.default_rng(5)
    curriculum._motions._rng = np.random.default_rng(5)
    loss = curriculum.distil()
    rng = np.random.default_rng(5)
    drawn_rng = np.random.default_rng(5)
    curriculum._motions._rng = drawn_rng
    drawn = curriculum._motions.draw(curriculum.recipe.batch)
    said = {}
    for length in (16, 8, 4):
        numbers = [int(16 / length * i + rng.uniform(0, 16 / length)) for i in range(length)]
        said[length] = model.classify(drawn.clips[:, numbers], length).softmax(1)
    wanted = (said[16] * (said[16] / said[4]).log()).sum(1).mean()
    assert float(loss.parts["from_4"]) == pytest.approx(float(wanted), rel=0.05, abs=1e-3)
    assert float(loss.parts["labels"]) == pytest.approx(
        float(F.nll_loss(said[16].log(), drawn.labels)), rel=0.02
    )
