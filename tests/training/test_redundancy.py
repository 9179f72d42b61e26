import pytest
import torch
from torch import nn

from edgeflow.flow import Clip, Image, RoutedModule, Tensor
from edgeflow.ir.errors import FlowError
from edgeflow.training.redundancy import over_layers, redundancy


class Copies(RoutedModule):
    """A convolution whose second channel is a dimmed first, whose third is its negative and whose fourth is dead."""

    inputs = (Clip("clip", 4, 8, 8),)
    outputs = (Tensor("out", (4, 4, 8, 8)),)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 1, bias=False)
        self.conv.weight.data = torch.tensor([1.0, 0.5, -1, 0]).reshape(4, 1, 1, 1, 1).repeat(1, 3, 1, 1, 1)

    def flow(self, f, clip):
        return f.call(self.run, clip)

    def run(self, clip):
        return self.conv(clip.transpose(1, 2))


class Nothing(RoutedModule):
    inputs = (Image("frame", 8, 8),)
    outputs = (Image("frame", 8, 8),)

    def flow(self, f, frame):
        return f.call(self.run, frame)

    def run(self, frame):
        return frame * 1


def test_channels_that_are_scaled_copies_are_redundant():
    torch.manual_seed(0)
    clip = torch.rand(1, 4, 3, 8, 8)
    (layer,) = redundancy(Copies(), [(clip,)])
    assert layer.channel.correlation == pytest.approx(
        -1 / 3
    )  # of three pairs two are opposite; the dead channel has none
    assert layer.channel.proportion == pytest.approx(1 / 4)
    assert layer.channel.same == 0
    assert abs(layer.temporal.correlation) < 0.3 and layer.temporal.proportion == 0


def test_frames_that_stand_still_are_the_same():
    torch.manual_seed(0)
    still = torch.rand(1, 1, 3, 8, 8).repeat(1, 4, 1, 1, 1)
    (layer,) = redundancy(Copies(), [(still,), (still,)])
    assert layer.temporal.correlation == pytest.approx(1)
    assert layer.temporal.rmse == pytest.approx(0, abs=1e-6)
    assert layer.temporal.same == pytest.approx(3 / 4)
    assert over_layers([layer])["temporal"] == layer.temporal


def test_root_mean_square_is_over_the_largest_value():
    clip = torch.zeros(1, 4, 3, 8, 8)
    clip[0, 1:] = 0.5
    (layer,) = redundancy(Copies(), [(clip,)])
    # Of six pairs of frames three differ, by all of the first and third channel's largest value and half the second's.
    assert layer.temporal.rmse == pytest.approx(0.5 * (1 + 0.5 + 1 + 0) / 4)


def test_a_model_without_convolutions_has_no_maps():
    with pytest.raises(FlowError, match="Nothing has no convolution"):
        redundancy(Nothing(), [(torch.rand(1, 3, 8, 8),)])
