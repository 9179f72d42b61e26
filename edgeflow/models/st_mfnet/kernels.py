"""Kernels of AdaCoF for both middle frames at three scales, each by a small network of its own."""

from __future__ import annotations

from torch import Tensor, nn

SCALES = ("half", "full", "double")
"""Sizes of the pictures that kernels are for, coarse to fine."""
PARTS = ("weight", "alpha", "beta")
"""What a kernel is made of: the taps' weights, and their vertical and horizontal offsets."""
FRAMES = ("first", "second")
"""The frame before the one that is made, and the one after."""


class Head(nn.Sequential):
    """One part of one frame's kernels at one scale.

    Args:
        channels: of the features, which are of half size.
        hidden: channels between.
        taps: of a kernel.
        scale: of `SCALES`.
        weights: whether it makes weights, which add up to one, or offsets.
    """

    def __init__(self, channels: int, hidden: int, taps: int, scale: str, weights: bool) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(channels, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, taps, 3, padding=1),
        ]
        if scale != "half":
            factor = 2 if scale == "full" else 4
            layers += [
                nn.ReLU(),
                nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=True),
                nn.Conv2d(taps, taps, 3, padding=1),
            ]
        super().__init__(*layers, *([nn.Softmax(1)] if weights else []))


class Kernels(nn.ModuleDict):
    """All eighteen heads, `half_first_weight` to `double_second_beta`.

    Args:
        channels: of the features.
        hidden: of a head.
        taps: of a kernel.

    Source: ST-MFNet, section 3.1 (multi-flow heads).
    """

    def __init__(self, channels: int, hidden: int, taps: int) -> None:
        super().__init__(
            {
                f"{scale}_{frame}_{part}": Head(channels, hidden, taps, scale, part == "weight")
                for scale in SCALES
                for frame in FRAMES
                for part in PARTS
            }
        )

    def forward(self, features: Tensor, frame: str) -> tuple[Tensor, ...]:
        """(n, c, h / 2, w / 2) -> nine times (n, taps, ...): of a frame, by scale, then part."""
        return tuple(self[f"{scale}_{frame}_{part}"](features) for scale in SCALES for part in PARTS)
