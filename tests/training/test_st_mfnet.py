"""Training ST-MFNet: it learns to move pixels, from the truth and from a teacher."""

from pathlib import Path

import numpy as np
import pytest
import torch

from edgeflow.ir.errors import TrainError
from edgeflow.models.st_mfnet import PRESETS, Interpolator, Preset, Sizes, STMFNet
from edgeflow.models.weights import write_weights
from edgeflow.training.data import load_clips
from edgeflow.training.evaluate_st_mfnet import evaluate
from edgeflow.training.order import Order
from edgeflow.training.samples import Samples, Window
from edgeflow.training.st_mfnet import Curriculum, begin, load_motion, start

SMALL = Sizes((8, 8, 8, 8), 4, (4, 4, 6), (4, 4, 6, 6), 4, None, 4, 3, 32, residual=True)


@pytest.fixture(scope="module")
def samples(clips, tmp_path_factory):
    data = load_clips(clips, tmp_path_factory.mktemp("decoded"))
    return lambda crop: Samples(data.training, crop, np.random.default_rng(0), Window)


def order(samples, preset, **options):
    rng = np.random.default_rng(0)
    return Order(
        preset, "alone", lambda size: type("Clips", (), {"training": samples(32).clips})(), rng, options
    )


def test_windows_reach_as_far_again_on_either_side(samples):
    window = samples(32)._triplet(samples(32).clips)
    assert [number - window.first for number in window.frames] == [
        step * window.gap for step in (-2, 0, 1, 2, 4)
    ]
    assert window.frames[0] >= 0 and window.frames[-1] < window.clip.split
    assert samples(32).crops(3).shape == (5, 3, 3, 32, 32)


def test_every_network_of_a_stage_gets_gradients(samples):
    torch.manual_seed(0)
    network = STMFNet(SMALL).train()
    start(network)
    curriculum = Curriculum(network, samples(32), None)
    kernels, learn = curriculum.stages()
    kernels.loss().total.backward()
    assert network.kernels["full_first_alpha"][-1].weight.grad.abs().sum() > 0
    assert network.grid.last.skip.weight.grad is None
    loss = learn.loss()
    loss.total.backward()
    assert network.grid.last.skip.weight.grad.abs().sum() > 0
    assert network.texture.last[-1].weight.grad.abs().sum() > 0
    assert float(loss.parts["l1"].detach()) == pytest.approx(float(loss.parts["average"]), rel=0.4)


def test_a_student_learns_from_its_teacher_too(samples, tmp_path):
    torch.manual_seed(0)
    teacher = Interpolator(PRESETS["tiny-mini"])
    start(teacher.network)
    write_weights(
        teacher, tmp_path / "teacher.safetensors", {"preset": "tiny-mini", "variant": "alone"}, half=False
    )
    given = order(samples, "tiny-mini", teacher="tiny-mini", teacher_weights=tmp_path / "teacher.safetensors")
    trainee = begin(given)
    assert trainee.identity == {"teacher": "tiny-mini"}
    loss = trainee.stages[1].loss()
    assert float(loss.parts["teacher"]) == pytest.approx(float(loss.parts["average"]), rel=0.4)
    assert (
        float(loss.total.detach()) < 0.3
    )  # a tenth of the truth's, and next to nothing of the teacher's, which is alike


def test_what_cannot_be_trained_is_refused(samples, tmp_path):
    with pytest.raises(TrainError, match="--teacher is a preset, one of full, mini, tiny, tiny-mini"):
        begin(order(samples, "tiny-mini", teacher="huge"))
    with pytest.raises(TrainError, match="full comes without weights"):
        begin(order(samples, "tiny-mini", teacher="full"))
    write_weights(Interpolator(Preset(SMALL)), tmp_path / "other.safetensors", {"preset": "other"})
    with pytest.raises(TrainError, match="not of this model"):
        begin(
            order(
                samples,
                "tiny-mini",
                teacher="tiny-mini",
                teacher_weights=Path(tmp_path / "other.safetensors"),
            )
        )
    with pytest.raises(TrainError, match="no flow estimator of these sizes"):
        load_motion(STMFNet(SMALL))


def test_a_network_that_is_the_average_scores_like_it(samples):
    network = Interpolator(Preset(SMALL))
    start(network.network)
    score = evaluate(network, samples(32).clips[0], True, 2)
    assert score.pictures == 2 and score.routes == {}
    assert score.made.psnr == pytest.approx(score.average.psnr, abs=0.7)
