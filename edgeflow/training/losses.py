"""What training minimises and evaluation measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from edgeflow.flow.cost import Cost
from edgeflow.ops.cost_volume import cost_volume

SHARPNESS = 10.0
"""Factor from a cost volume to logits."""
NOISE = 1e-4
"""Mean squared error of a picture (values in [0, 1]) that is hardly seen: 40 dB."""


def l1(picture: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference, a scalar."""
    return (picture - target).abs().mean()


def errors(picture: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The reconstruction loss L_r of each picture (n, 3, h, w): (n,).

    The paper uses L1. On few clips and in few steps it taught the interpolator nothing but to leave
    the frames' average alone, and squared error only to blur what moves too far to be predicted:
    such pictures outweigh all others. The logarithm of the squared error asks every picture for the
    same relative gain, 0.23 per dB, and stops asking where the error is below NOISE.
    """
    return torch.log1p((picture - target).square().mean((1, 2, 3)) / NOISE)


def over_exits(pictures: Sequence[torch.Tensor], target: torch.Tensor) -> torch.Tensor:
    """Step 1's loss, `errors` over all exits: a scalar.

    Args:
        pictures: of each exit, shallowest first, (n, 3, h, w) in [0, 1].
        target: like one picture.
    """
    return torch.stack([errors(picture, target).mean() for picture in pictures]).mean()


LEVELS = 5
"""Levels of a Laplacian pyramid."""
BINOMIAL = (1.0, 4.0, 6.0, 4.0, 1.0)


def laplacian(picture: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Distance of Laplacian pyramids: level i counts 2 ** i times its absolute differences, summed per pixel of the picture.

    Args:
        picture: (n, c, h, w); sides of at least 2 ** 4 pixels give five levels, smaller ones fewer.
        target: of the same shape.

    Returns:
        A scalar.

    Source: ST-MFNet Mini, Eq. 4 (both losses); the pyramid is Niklaus and Liu's (CVPR 2018), averaged down.
    """
    left = picture - target  # all that is done to a pyramid is linear
    total = left.new_zeros(())
    for level in range(LEVELS):
        smooth = _smooth(left)
        detail = left if level == LEVELS - 1 else left - smooth
        total = total + 2**level * detail.abs().sum()
        if min(left.shape[-2:]) < 2:
            break
        left = F.avg_pool2d(smooth, 2)
    return total / (picture.shape[0] * picture.shape[-1] * picture.shape[-2])


def _smooth(picture: torch.Tensor) -> torch.Tensor:
    taps = picture.new_tensor(BINOMIAL) / sum(BINOMIAL)
    filter = torch.outer(taps, taps).expand(picture.shape[1], 1, -1, -1)
    border = F.pad(picture, (2, 2, 2, 2), mode="replicate")
    return F.conv2d(border, filter, groups=picture.shape[1])


def charbonnier(picture: torch.Tensor, target: torch.Tensor, eps: float = 1e-3) -> torch.Tensor:
    """Mean of a smooth absolute difference, a scalar. Source: ST-MFNet Mini, Eq. 1."""
    return ((picture - target).square() + eps**2).sqrt().mean()


def psnr(picture: torch.Tensor, target: torch.Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures in [0, 1], the picture clamped to that range."""
    error = float((picture.clamp(0, 1) - target).square().mean())
    return float(-10 * torch.log10(torch.tensor(max(error, 1e-10))))


def random_flow(pictures: torch.Tensor) -> torch.Tensor:
    """A smooth made-up flow: some pictures stay, some shift as one, some bend as well.

    Args:
        pictures: (n, 3, h, w); only the shape counts.

    Returns:
        (n, 2, h, w), in pixels: about one pixel in some pictures, about sixteen in others.
    """
    n, _, height, width = pictures.shape
    bend = 0.3 * torch.randn(n, 2, max(height // 40, 2), max(width // 40, 2))
    shift = torch.randn(n, 2, 1, 1)
    bends, shifts = torch.rand(n, 1, 1, 1) < 0.5, torch.rand(n, 1, 1, 1) < 0.8
    coarse = torch.exp2(4 * torch.rand(n, 1, 1, 1)) * (bend * bends + shift * shifts)
    return F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)


def endpoint(flow: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean absolute error of a flow, in pixels of the picture: a scalar.

    Args:
        flow: (n, 2, h / s, w / s) for some whole s.
        truth: (n, 2, h, w).
    """
    return l1(flow, F.avg_pool2d(truth, truth.shape[-1] // flow.shape[-1]))


def mismatch(first: torch.Tensor, second: torch.Tensor, truth: torch.Tensor, radius: int) -> torch.Tensor:
    """Cross-entropy of a cost volume, so that features learn to match before any flow is read from them.

    Args:
        first: features (n, c, h / s, w / s) of one picture.
        second: of the other.
        truth: flow (n, 2, h, w) from the first picture to the second, in pixels.
        radius: of the cost volume; positions that moved farther do not count.

    Returns:
        A scalar.
    """
    side = truth.shape[-1] // first.shape[-1]
    flow = F.avg_pool2d(truth, side) / side
    shifts = torch.arange(-radius, radius + 1.0).reshape(1, -1, 1, 1)
    across, down = ((1 - (length - shifts).abs()).clamp_min(0) for length in (flow[:, :1], flow[:, 1:]))
    wanted = (down.unsqueeze(2) * across.unsqueeze(1)).flatten(1, 2)
    found = (SHARPNESS * cost_volume(first, second, radius)).log_softmax(1)
    entropy: torch.Tensor = -(wanted * found).sum(1).mean()
    return entropy


def lean_to(logits: torch.Tensor, losses: torch.Tensor, softness: float) -> torch.Tensor:
    """Cross-entropy between a choice net's logits and how good each choice was, a scalar.

    Args:
        logits: (tiles, choices).
        losses: (tiles, choices): what each choice costs in the objective.
        softness: a choice worse by this much than another is chosen e times less.
    """
    return F.cross_entropy(logits, (-losses / softness).softmax(1))


@dataclass(frozen=True)
class Resource:
    """The resource term: expected FLOPs per pixel, weighed apart for scale and depth.

    Source: CAIN-SD, Eq. 11, 12 and 14.

    Attributes:
        cost: of the model.
        pixels: of a tile.
        weights: lambda_s and lambda_d by axis name, per FLOP per pixel.
    """

    cost: Cost
    pixels: int
    weights: Mapping[str, float]

    def __call__(self, masks: Mapping[str, torch.Tensor], axis: str) -> torch.Tensor:
        """The mean over tiles, a scalar; only the decision on `axis` gets a gradient.

        Args:
            masks: one-hot (tiles, values) per axis, of the training interpreter.
            axis: the axis being learnt; the others count as fixed.
        """
        held = {name: mask if name == axis else mask.detach() for name, mask in masks.items()}
        return self.weights[axis] * self.cost.expected(held, "tiles").mean() / self.pixels


RIGHT = 1.0
"""Squared levels of 255 that are taken for right: a guess of less is a guess at noise."""


def misjudged(guessed: torch.Tensor, errors: torch.Tensor, patch: int) -> torch.Tensor:
    """How far guesses at squared errors are off, a scalar: squared differences of logarithms, of cells and of patches of them.

    Args:
        guessed: mean squared errors in squared levels of 255, (n, ways, rows, columns).
        errors: that were measured, of the same shape.
        patch: side of the patches, in cells: about what a tile answers for.
    """
    means = [F.avg_pool2d(each, patch, max(patch // 2, 1)) for each in (guessed, errors)]
    return _logs_apart(*means) + 0.2 * _logs_apart(guessed, errors)


def _logs_apart(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (torch.log(one + RIGHT) - torch.log(other + RIGHT)).square().mean()
