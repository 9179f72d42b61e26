"""What training minimises and evaluation measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from edgeflow.flow.cost import Cost


def l1(picture: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference, a scalar (CAIN-SD, section 3.4)."""
    return (picture - target).abs().mean()


def deep_l1(pictures: Sequence[torch.Tensor], target: torch.Tensor) -> torch.Tensor:
    """L1 of every exit's picture; the deepest weighs twice the shallowest, so that depth pays.

    Args:
        pictures: of each exit, shallowest first, (n, 3, h, w) in [0, 1].
        target: like one picture.
    """
    weights = torch.linspace(1, 2, len(pictures))
    losses = torch.stack([l1(picture, target) for picture in pictures])
    return (weights * losses).sum() / weights.sum()


def psnr(picture: torch.Tensor, target: torch.Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures in [0, 1], the picture clamped to that range."""
    error = float((picture.clamp(0, 1) - target).square().mean())
    return float(-10 * torch.log10(torch.tensor(max(error, 1e-10))))


def random_flow(pictures: torch.Tensor) -> torch.Tensor:
    """A smooth made-up flow; some parts of each picture stay still.

    Args:
        pictures: (n, 3, h, w); only the shape counts.

    Returns:
        (n, 2, h, w), in pixels: about one pixel in some pictures, about sixteen in others.
    """
    n, _, height, width = pictures.shape
    cells = (max(height // 40, 2), max(width // 40, 2))
    moving = (torch.rand(n, 1, *cells) < 0.6).float()
    reach = torch.exp2(4 * torch.rand(n, 1, 1, 1))
    coarse = moving * reach * (torch.randn(n, 2, *cells) / 2 + torch.randn(n, 2, 1, 1)) / 2
    return F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)


def endpoint(flow: torch.Tensor, truth: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Mean absolute error of a flow, in pixels of the picture: a scalar.

    Args:
        flow: (n, 2, h / s, w / s) for some whole s.
        truth: (n, 2, h, w).
        seen: (n, 1, h, w): 1 where the flow could be known, 0 elsewhere.
    """
    side = truth.shape[-1] // flow.shape[-1]
    return (F.avg_pool2d(seen, side) * (flow - F.avg_pool2d(truth, side)).abs()).mean()


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
