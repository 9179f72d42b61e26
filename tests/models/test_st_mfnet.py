"""ST-MFNet: published counts, any frame size, routes, and engines that compute what the flow does."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from kept_bundles import compile_kept
from torch import nn

from edgeflow.export.compile import compile_model
from edgeflow.flow import Eager, cost
from edgeflow.ir.bundle.golden import read_clip
from edgeflow.ir.errors import FlowError, InputError, TrainError
from edgeflow.ir.film import calls_of
from edgeflow.models import family
from edgeflow.models.st_mfnet import PRESETS, Interpolator, Pair, Preset, Sizes, STMFNet, build
from edgeflow.models.st_mfnet.gridnet import COLUMNS, GridNet
from edgeflow.models.weights import load_weights, write_weights
from edgeflow.runtime import Fixed, Session, open_bundle
from edgeflow.runtime.check import check
from edgeflow.targets import load
from edgeflow.training.st_mfnet import start

SMALL = Sizes((8, 8, 8, 8), 4, (4, 4, 6), (4, 4, 6, 6), 4, None, 4, 3, 32, residual=True)
SMALLER = Sizes((4, 4, 4, 4), 2, (2, 2, 4), (2, 2, 4, 4), 2, None, 2, 3, 32, residual=True)


def pictures(height, width, seed=0):
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (height, width, 3), np.uint8) for _ in range(4)]


def tensors(frames):
    return [torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255 for frame in frames]


def spread(model):
    """Weights with which kernels move something: random networks otherwise hardly do."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    for network in [module for module in model.modules() if isinstance(module, STMFNet)]:
        for name, head in network.kernels.items():
            if not name.endswith("weight"):
                [layer for layer in head if isinstance(layer, nn.Conv2d)][-1].bias.data.normal_(0, 2)
    return model.eval()


def test_published_counts_of_parameters():
    assert sum(p.numel() for p in build("full").parameters()) == 21_028_799
    assert sum(p.numel() for p in build("mini").parameters()) == 1_822_162


class AsPublished(GridNet):
    """With the columns that nothing reads."""

    def forward(self, *given):
        rows, half = list(given), COLUMNS // 2
        for column in range(COLUMNS):
            down = column < half
            for row in range(3) if down else reversed(range(3)):
                rows[row] = self.lateral[row][column](rows[row])
                if down and row:
                    rows[row] = rows[row] + self.down[row - 1][column](rows[row - 1])
                if not down and row < 2:
                    rows[row] = rows[row] + self.up[row][column - half](rows[row + 1])
        return self.last(rows[1])


@pytest.mark.slow
def test_what_nothing_reads_is_not_computed():
    """29% of the Mini's GridNet: 24.72 GFLOP at 128x128 as published."""
    mini = build("mini")
    size = {"height": 128, "width": 128}
    live = sum(call.flops for call in cost(mini, size).calls)
    grid = mini.network.grid
    drawn = [torch.rand(1, 6, side, side) for side in (64, 32, 16)]
    with torch.no_grad():
        made = grid(*drawn)
        grid.__class__ = AsPublished
        assert torch.equal(made, grid(*drawn))
    whole = sum(call.flops for call in cost(mini, size).calls)
    assert whole == pytest.approx(24.72e9, rel=1e-3)
    assert whole - live == pytest.approx(3.02e9, rel=1e-2)


@pytest.mark.parametrize("size", [(32, 32), (31, 45), (9, 70), (1, 33)])
@torch.no_grad()
def test_any_frame_size(size):
    model = spread(Interpolator(Preset(SMALL)))
    frames = tensors(pictures(*size))
    made = model(*frames)
    assert made.shape == (1, 3, *size)
    torch.testing.assert_close(made, model.network(*frames))


@torch.no_grad()
def test_a_network_starts_as_the_average():
    network = STMFNet(SMALL).eval()
    start(network)
    frames = [torch.full((1, 3, 40, 50), shade) for shade in (0.1, 0.3, 0.5, 0.9)]
    torch.testing.assert_close(network(*frames), torch.full((1, 3, 40, 50), 0.4))


@torch.no_grad()
def test_texture_may_see_changes_in_place_of_frames():
    network = STMFNet(replace(SMALL, changes=True)).eval()
    shown = []
    network.texture.forward = lambda *pictures: shown.extend(pictures) or torch.full((1, 3, 32, 32), 0.4)
    frames = [torch.full((1, 3, 32, 32), shade) for shade in (0.1, 0.3, 0.5, 0.9)]
    made = network.finish(*frames, torch.full((1, 3, 32, 32), 0.4))
    assert [round(float(each.mean()), 3) for each in shown] == [-1.2, -0.4, 0.4, 0.4, 2.0]
    torch.testing.assert_close(made, torch.full((1, 3, 32, 32), 0.5))


@torch.no_grad()
def test_shifted_pictures_come_from_offsets():
    """With offsets of two pixels left and right, both frames meet in the middle."""
    network = STMFNet(SMALL).eval()
    start(network)
    for head, move in (("first_beta", 2.0), ("second_beta", -2.0)):
        last = [layer for layer in network.kernels[f"full_{head}"] if isinstance(layer, nn.Conv2d)][-1]
        last.bias.fill_(move)
    for part in ("first_weight", "second_weight"):
        last = [layer for layer in network.kernels[f"full_{part}"] if isinstance(layer, nn.Conv2d)][-1]
        last.bias[4] = 50.0
    scene = torch.rand(1, 3, 32, 48)
    first, target, second = (scene[..., 8 + move : 40 + move] for move in (-2, 0, 2))
    made = network(first, first, second, second)
    torch.testing.assert_close(made[..., 4:-4], target[..., 4:-4])


@pytest.mark.slow
@torch.no_grad()
def test_the_flow_estimator_can_go():
    """As in the paper, where nothing was left of it."""
    network = STMFNet(Sizes(**{**vars(SMALL), "flow": PRESETS["tiny"].sizes.flow, "residual": False})).eval()
    first = network.grid.lateral[1][0]
    for conv in (first.branch[1], first.skip):
        conv.weight[:, 6:] = 0
    rest = network.without("motion")
    frames = tensors(pictures(32, 64))
    torch.testing.assert_close(rest(*frames), network(*frames))
    assert not hasattr(rest, "motion")
    for name in ("motion", "texture"):
        with pytest.raises(FlowError, match=f"cannot be without {name}"):
            rest.without(name)


def test_frames_of_a_film_repeat_at_its_ends_and_at_cuts():
    model = build("tiny")
    film = [np.full((2, 2, 3), shade, np.uint8) for shade in (0, 1, 2, 100, 101)]
    calls = calls_of(model.task, film, lambda last, now: int(now[0, 0, 0]) - int(last[0, 0, 0]) > 50)
    shades = [[int(frame[0, 0, 0]) for frame in call] for call in calls]
    assert shades == [[0, 0, 1, 2], [0, 1, 2, 2], [100, 100, 101, 101]]
    short = [
        [[int(frame[0, 0, 0]) for frame in call] for call in calls_of(model.task, film[:n])]
        for n in (1, 2, 3)
    ]
    assert short == [[], [[0, 0, 1, 1]], [[0, 0, 1, 2], [0, 1, 2, 2]]]  # fewer frames than a window


def test_weights_that_do_not_fit_are_refused(tmp_path):
    write_weights(
        Interpolator(Preset(SMALL)), tmp_path / "small.safetensors", {"preset": "small", "variant": "alone"}
    )
    with pytest.raises(TrainError, match="not of this model"):
        load_weights(build("tiny-mini"), tmp_path / "small.safetensors")


@pytest.mark.parametrize("tiles", [False, True])
@torch.no_grad()
def test_a_pair_is_the_network_that_it_chose(tiles):
    pair = spread(Pair(Preset(SMALL, tile=64, halo=16), Preset(SMALLER), tiles))
    frames = tensors(pictures(64, 64))
    for quality, network in (("full", pair.network), ("mini", pair.mini)):
        made = Eager(pair, fixed={"quality": quality})(*frames).outputs[0]
        torch.testing.assert_close(made, network(*frames))


@torch.no_grad()
def test_tiles_choose_by_their_own_difficulty():
    pair = spread(Pair(Preset(SMALL, tile=64, halo=16), Preset(SMALLER), True))
    last = pair.difficulty.layers[-1]
    last.weight.zero_()
    last.weight[0, :, 1, 1] = 1.0  # mini is the more wrong, the more the frames differ
    last.bias.zero_()
    for layer in pair.difficulty.layers:
        if isinstance(layer, nn.Conv2d) and layer is not last:
            layer.weight.zero_()
            layer.bias.zero_()
            layer.weight[:, -4:, 1, 1] = 1.0  # of the first layer: the difference of the frames
    frames = tensors(pictures(64, 160))
    frames[2] = frames[1].clone()
    frames[2][..., 100:] = 1 - frames[2][..., 100:]
    chosen = Eager(pair)(*frames).routes["quality"]
    assert chosen[0] == "mini" and chosen[-1] == "full"


@pytest.mark.slow
def test_the_weights_of_a_pair_are_those_of_its_networks_and_its_router(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEFLOW_CACHE", str(tmp_path))
    own = family("st-mfnet")
    pair, alone = (
        own.model("tiny", "frame"),
        {name: own.model(name, "alone") for name in ("tiny", "tiny-mini")},
    )
    load_weights(pair, own.weights("tiny", "frame"))
    for name, network in (("tiny", pair.network), ("tiny-mini", pair.mini)):
        load_weights(alone[name], own.weights(name, "alone"))
        for key, tensor in alone[name].network.state_dict().items():
            assert torch.equal(network.state_dict()[key], tensor)
    still = torch.rand(1, 3, 64, 64)
    assert pair.score(still, still).argmax(1) == 0
    assert own.weights("full", "tile") is None


def test_what_is_no_pair_is_refused():
    with pytest.raises(FlowError, match="mini is the smaller network of a pair: full and tiny have one"):
        build("mini", "frame")
    with pytest.raises(FlowError, match="presets full, mini, tiny, tiny-mini"):
        build("huge")
    other = Preset(Sizes(**{**vars(SMALLER), "side": 5}))
    with pytest.raises(FlowError, match="kernels of one size"):
        Pair(Preset(SMALL), other, tiles=False)
    assert family("st-mfnet").options() == {"preset": "tiny", "variant": "alone"}
    assert PRESETS["tiny"].mini == "tiny-mini"


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    model = spread(Interpolator(Preset(SMALL)))
    folder = tmp_path_factory.mktemp("st") / "alone.edgeflow"
    made = compile_kept(model, load("cpu"), folder, reference={}, strategy="chained", sizes=[(40, 70)])
    return model, made


@pytest.mark.slow
def test_one_whole_frame_is_golden_of_a_flow_that_neither_remembers_nor_decides(alone):
    _, made = alone
    (kind, plan), *_ = made.manifest.plans.items()
    assert {name.split(".")[0] for name in read_clip(made.path, kind, plan)} == {"0"}


@pytest.mark.slow
@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
def test_engines_compute_what_the_flow_does(alone, library):
    model, made = alone
    frames = pictures(40, 70, 3)
    session = Session(made.path, library=library)
    found = session.run(*frames).outputs[0].astype(float)
    with torch.no_grad():
        wanted = model(*tensors(frames))[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255
    assert np.abs(found - wanted).max() < 0.51
    assert check(open_bundle(made.path), library=library).passed


def test_adacof_runs_as_a_kernel(alone):
    pytest.importorskip("numba")
    _, made = alone
    kernels = {entry.kernel.name for entry in made.manifest.graphs.values() if entry.kernel}
    assert kernels == {"adacof"}


def test_bad_frames_are_refused(alone):
    _, made = alone
    session = Session(made.path)
    frames = pictures(40, 70)
    with pytest.raises(InputError, match=r"takes 4 inputs .*, got 3"):
        session.run(*frames[:3])
    with pytest.raises(
        InputError, match=r"input frame3: expected uint8 of shape .*got uint8 of shape \(39, 70, 3\)"
    ):
        session.run(*frames[:3], frames[3][:-1])


@pytest.mark.long
def test_a_pair_runs_by_its_own_choice_and_by_a_policy(tmp_path):
    pair = spread(Pair(Preset(SMALL, tile=64, halo=16), Preset(SMALLER), True))
    made = compile_model(
        pair, load("cpu"), tmp_path / "pair.edgeflow", reference={}, strategy="chained", sizes=[(64, 96)]
    )
    frames = pictures(64, 96, 5)
    for fixed in ({}, {"quality": "mini"}, {"quality": "full"}):
        session = Session(made.path, policy=Fixed(**fixed)) if fixed else Session(made.path)
        found = session.run(*frames)
        with torch.no_grad():
            wanted = Eager(pair, fixed=fixed)(*tensors(frames)).outputs[0]
        picture = wanted[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255
        assert np.abs(found.outputs[0].astype(float) - picture).max() < 0.51
        if fixed:
            assert set(found.trace.choices["quality"]) == set(fixed.values())
