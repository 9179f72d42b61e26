"""The SD-finder: which scale and which depth each part of the frame needs.

Source: CAIN-SD, section 3.2 and Eq. 1-3.
"""

from __future__ import annotations

import torch
from torch import nn

from edgeflow.models.cain_sd.pwc import PWC
from edgeflow.ops.resize import bicubic


class ChoiceNet(nn.Sequential):
    """Three convolutions of stride 2: (n, c, h, w) -> logits (n, choices, h / 8, w / 8).

    The paper says three layers; kernel, widths and stride are ours. Logits start at the first
    (`start`) choice, so that training begins from the full model.
    """

    def __init__(self, channels: int, choices: int, start: int) -> None:
        last = nn.Conv2d(32, choices, 3, 2, 1)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias[start] = 2.0  # type: ignore[index]
        super().__init__(
            nn.Conv2d(channels, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), last
        )


class SDFinder(nn.Module):
    """ScaleNet on the flow's magnitude, DepthNet on the frames' difference.

    Args:
        motion: the flow estimator.
        canvas: (short, long) side to which frames are resized, in pixels. The short side is
            192 in the paper; the long side is fixed too, so that one graph serves every frame
            size, and both are multiples of what the flow estimator needs.
        scales: number of scales; no ScaleNet if 0.
        depths: number of depths; no DepthNet if 0.
    """

    def __init__(self, motion: PWC, canvas: tuple[int, int], scales: int, depths: int) -> None:
        super().__init__()
        self.canvas = canvas
        if scales:
            self.motion = motion
            self.scale_net = ChoiceNet(1, scales, start=0)
        if depths:
            self.depth_net = ChoiceNet(3, depths, start=depths - 1)

    def thumbnail(self, frame: torch.Tensor) -> torch.Tensor:
        """The frame on the canvas, bicubic: (n, 3, h, w) -> (n, 3, short, long), turned for portrait."""
        short, long = self.canvas
        height, width = (short, long) if frame.shape[-1] >= frame.shape[-2] else (long, short)
        return bicubic(frame, height, width)

    def forward(self, frame0: torch.Tensor, frame1: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Logit maps (n, choices, h / 8, w / 8) over the frame: of scale, then of depth."""
        small0, small1 = self.thumbnail(frame0), self.thumbnail(frame1)
        maps = []
        if hasattr(self, "scale_net"):
            forth, back = self.motion.both(small0, small1)
            squared = torch.maximum(forth.square().sum(1, True), back.square().sum(1, True))
            maps.append(self.scale_net((squared + 1e-6).sqrt()))
        if hasattr(self, "depth_net"):
            maps.append(self.depth_net(small0 - small1))
        return tuple(maps)
