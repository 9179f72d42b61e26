import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgeflow.flow import Eager
from edgeflow.ir.errors import FlowError
from edgeflow.models.cain_sd import PRESETS, WholeFrame, build
from edgeflow.models.cain_sd.cain import CAIN
from edgeflow.models.cain_sd.carn import CARN
from edgeflow.models.cain_sd.finder import SDFinder
from edgeflow.models.cain_sd.pwc import PWC

SMALL = {"channels": 8, "blocks": 1, "groups": 3, "reduction": 4}


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_the_last_exit_is_the_whole_network(residual, size):
    cain = CAIN(**SMALL, residual=residual)
    frames = torch.rand(2, 2, 3, *size)
    exits = cain.exits(*frames)
    assert len(exits) == 3 and all(picture.shape == frames[0].shape for picture in exits)
    torch.testing.assert_close(exits[-1], cain(*frames, multiple=8), atol=1e-5, rtol=1e-5)
    assert (exits[0] - exits[-1]).abs().max() > 1e-4


@pytest.mark.parametrize("size", [(33, 50), (61, 24)])
def test_whole_frames_of_any_size_keep_it(size):
    cain = CAIN(**SMALL)
    frames = torch.rand(2, 1, 3, *size)
    before = frames.clone()
    assert cain(*frames, multiple=16).shape == frames[0].shape
    assert torch.equal(frames, before), "the caller's frames are left alone"


def test_padding_is_by_reflection_and_cropped_around_the_middle():
    cain = CAIN(**SMALL)
    frames = torch.rand(2, 1, 3, 30, 27)
    mean = [f.mean((2, 3), keepdim=True) for f in frames]
    padded = [F.pad(f - m, (2, 3, 1, 1), mode="reflect") + m for f, m in zip(frames, mean, strict=True)]
    exact = [p - m for p, m in zip(padded, mean, strict=True)]
    first = cain.head_conv(torch.cat([F.pixel_unshuffle(f, 8) for f in exact], 1))
    x = first
    for group in cain.groups:
        x = group(x)
    wanted = F.pixel_shuffle(cain.tail_conv(x + first), 8)[..., 1:31, 2:29] + sum(mean) / 2
    torch.testing.assert_close(cain(*frames, multiple=8), wanted, atol=1e-5, rtol=1e-5)


def test_a_still_picture_passes_an_untrained_residual_network_unharmed():
    cain = CAIN(**SMALL, residual=True)
    nn.init.zeros_(cain.tail_conv.weight)
    nn.init.zeros_(cain.tail_conv.bias)
    frame = torch.rand(1, 3, 16, 24)
    torch.testing.assert_close(cain(frame, frame, multiple=8), frame)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_super_resolution_by_every_scale(scale, residual):
    carn = CARN(scales=(2, 3, 4), width=8, groups=2, blocks=2, units=2, residual=residual)
    assert carn(torch.rand(2, 3, 5, 7), scale).shape == (2, 3, 5 * scale, 7 * scale)
    for parameter in carn.exit.parameters():
        nn.init.zeros_(parameter)
    picture = torch.rand(1, 3, 6, 6)
    plain = (
        F.interpolate(picture, scale_factor=scale, mode="bicubic")
        if residual
        else carn.mean.expand(1, 3, 6 * scale, 6 * scale)
    )
    torch.testing.assert_close(carn(picture, scale), plain)


def test_a_block_shares_one_unit():
    one, three = (
        sum(
            p.numel() for n, p in CARN(width=8, groups=2, blocks=1, units=u).named_parameters() if "unit" in n
        )
        for u in (1, 3)
    )
    assert one == three > 0


def test_both_directions_equal_two_runs():
    pwc = PWC(**PRESETS["tiny"].pwc)
    frames = torch.rand(2, 2, 3, 32, 48)
    forth, back = pwc.both(*frames)
    torch.testing.assert_close(forth, pwc(*frames), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(back, pwc(*frames.flip(0)), atol=1e-4, rtol=1e-4)
    assert forth.shape == (2, 2, 32, 48)


def finder(scales=3, depths=5):
    return SDFinder(PWC(**PRESETS["tiny"].pwc), (32, 48), scales, depths)


def test_the_finder_turns_its_canvas_for_portrait():
    frames = torch.rand(2, 1, 3, 60, 90)
    wide, high = finder().thumbnail(frames[0]), finder().thumbnail(frames[0].mT)
    assert wide.shape[-2:] == (32, 48) and high.shape[-2:] == (48, 32)
    torch.testing.assert_close(high.mT, wide, atol=1e-5, rtol=1e-5)
    assert [m.shape[1:] for m in finder()(*frames)] == [(3, 4, 6), (5, 4, 6)]
    assert [m.shape[1:] for m in finder()(*frames.mT)] == [(3, 6, 4), (5, 6, 4)]


def test_the_finder_has_only_the_nets_it_needs():
    frames = torch.rand(2, 1, 3, 60, 90)
    assert [m.shape[1] for m in finder(3, 0)(*frames)] == [3]
    assert [m.shape[1] for m in finder(0, 5)(*frames)] == [5]
    assert not any("motion" in name for name, _ in finder(0, 5).named_parameters())


def test_an_untrained_finder_chooses_the_full_model():
    model = build("tiny")
    routes = Eager(model)(*torch.rand(2, 1, 3, 80, 100)).routes
    assert set(routes["scale"]) == {1} and set(routes["exit"]) == {5}


def test_the_full_route_of_one_tile_is_the_static_model():
    model = build("tiny")
    frames = torch.rand(2, 1, 3, 64, 64)
    whole = Eager(WholeFrame(model))(*frames).outputs[0]
    tiled = Eager(model, {"scale": 1, "exit": 5})(*frames).outputs[0]
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model(*frames), tiled, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_built():
    with pytest.raises(FlowError, match="CAIN-SD has the presets full, small, tiny, got 'huge'"):
        build("huge")
    with pytest.raises(FlowError, match="CAIN-SD has the variants S, D and SD, got 'DS'"):
        build("tiny", "DS")
