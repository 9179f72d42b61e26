"""What is found of a network by running it: what it takes, how far it sees, and that it is no function of frames."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from wrap_networks import Attentive, Enlarger, Five, Middle, Normed, Segmenter, Three, denoiser

from edgeflow.ir.errors import FlowError
from edgeflow.wrap.form import Form, form_of
from edgeflow.wrap.model import task_of_form
from edgeflow.wrap.reach import reach_of
from edgeflow.wrap.windows import window_of


@pytest.mark.parametrize(
    ("network", "form", "pixels"),
    [
        (denoiser, Form(images=1, channels=3, scale=1, multiple=1, grid=1), 2),
        (Enlarger, Form(images=1, channels=3, scale=2, multiple=2, grid=2), 5),
        (Segmenter, Form(images=1, channels=5, scale=1, multiple=4, grid=4), 8),
        (Middle, Form(images=2, channels=3, scale=1, multiple=1, grid=1), 2),
        (Three, Form(images=3, channels=3, scale=1, multiple=1, grid=1), 2),
        (Five, Form(images=5, channels=3, scale=2, multiple=1, grid=1), 2),
    ],
)
def test_form_and_receptive_field(network, form, pixels):
    built = window_of(network().eval())
    assert form_of(built) == form
    assert reach_of(built, form).pixels == pixels


@pytest.mark.parametrize(("network", "middle", "last"), [(denoiser, 0, 0), (Middle, 0.5, 1), (Five, 2, 4)])
def test_what_is_made_belongs_to_the_middle_or_the_last_frame(network, middle, last):
    built = window_of(network().eval())
    times = [task_of_form(form_of(built, last=chosen)).outputs[0].time for chosen in (False, True)]
    assert times == [middle, last]


def test_a_network_of_clips_of_any_length_is_refused():
    with pytest.raises(FlowError, match="Mean takes clips of any number of frames: wrap it in a module"):
        window_of(Mean())


def test_operators_with_small_kernels_do_not_see_the_whole_frame():
    shrinking = nn.Sequential(nn.Conv2d(3, 8, 16, 16), nn.Conv2d(8, 8, 9, 1, 4), nn.Conv2d(8, 8, 9, 1, 4))
    network = nn.Sequential(shrinking, nn.Conv2d(8, 768, 1), nn.PixelShuffle(16)).eval()
    assert reach_of(network, form_of(network)).everywhere == ()


@pytest.mark.parametrize(
    ("network", "named"), [(Attentive, "mean in weigh.0"), (Normed, "batch_norm in body.1")]
)
def test_operators_that_see_the_whole_frame_are_named(network, named):
    built = network().eval()
    reach = reach_of(built, form_of(built))
    assert reach.pixels is None
    assert reach.everywhere == (named,)


class Mean(nn.Module):
    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        return clip.mean(1)


class AnyTime(nn.Module):
    def forward(self, frame0: torch.Tensor, frame1: torch.Tensor, timestep: float) -> torch.Tensor:
        return frame0 + timestep * frame1


class Noisy(nn.Module):
    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        return frame + torch.rand_like(frame)


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("last", torch.zeros(1))

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        self.last += frame.mean()
        return frame + self.last


class Labels(nn.Module):
    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        return frame.mean((2, 3))


class Several(nn.Module):
    def forward(self, *frames: torch.Tensor) -> torch.Tensor:
        return torch.stack(frames).mean(0)


class Broken(nn.Module):
    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        return frame / 0 - frame / 0


class Grey(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3)

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        return self.layer(frame)


class Branching(nn.Module):
    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        return -frame if frame.mean() > 0.7 else frame


class Nothing(nn.Module):
    def forward(self) -> torch.Tensor:
        return torch.zeros(1)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (Noisy, "another picture of the same frame each time: it draws noise"),
        (Counting, "changes its buffer last when it runs: a network with a memory cannot be wrapped"),
        (Labels, r"makes a tensor \(1, 3\) of pictures: let it return one tensor \(n, c, h, w\)"),
        (AnyTime, "takes a time, timestep, besides frames: give it a default.* edgeflow export rife"),
        (Several, "takes any number of arguments: give its forward one named argument for each frame"),
        (Broken, "makes NaN or infinity"),
        (Grey, "cannot run on a picture .*RuntimeError.*let `build` return a module that takes frames"),
        (Nothing, "takes no picture"),
        (Branching, "Branching branches on its data"),
    ],
)
def test_what_is_no_function_of_frames_is_refused(network, said):
    with pytest.raises(FlowError, match=said):
        form_of(network().eval())
