"""RIFE 4.0: optical flow towards both frames, coarse to fine, and the picture that they meet in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHRINK = (8, 4, 2, 1)
"""Over which the four blocks see the frame."""
WIDTHS = (192, 128, 96, 64)
"""Their channels, in release 4.0."""
SPAN = 4 * SHRINK[0]
"""Frames are padded to multiples of so many pixels: the first block shrinks by 8, and its convolutions by 4."""


class FlowBlock(nn.Module):
    """What one scale adds to the flow and to the blend.

    Args:
        planes: of the input, with the flow so far.
        width: channels.

    Source: Huang et al., *RIFE* (ECCV 2022), section 3.2 (IFBlock), in the widths of release 4.0.
    """

    def __init__(self, planes: int, width: int) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(convolution(planes, width // 2, 2), convolution(width // 2, width, 2))
        self.convblock = nn.Sequential(*(convolution(width, width) for _ in range(8)))
        self.lastconv = nn.ConvTranspose2d(width, 5, 4, 2, 1)

    def forward(self, x: Tensor, flow: Tensor | None, shrink: int) -> tuple[Tensor, Tensor]:
        """Flow (n, 4, h, w), in pixels, and blend logit (n, 1, h, w).

        Args:
            x: (n, planes, h, w), sides multiples of 4 x `shrink`.
            flow: so far, (n, 4, h, w); it is read in pixels of the shrunken frame.
            shrink: over which the block sees the frame.
        """
        x = _resized(x, 1 / shrink)
        if flow is not None:
            x = torch.cat((x, _resized(flow, 1 / shrink) / shrink), 1)
        features = self.conv0(x)
        made = _resized(self.lastconv(self.convblock(features) + features), 2 * shrink)
        return made[:, :4] * (2 * shrink), made[:, 4:]


@dataclass(frozen=True)
class Warped:
    """What the flow network found.

    Attributes:
        frame0: frame 0 as it is at the time asked for, (n, 3, h, w).
        frame1: the same of frame 1.
        flow: towards frame 0 and towards frame 1, (n, 4, h, w) in pixels.
        blend: logit of the share that frame 0 has in the picture, (n, 1, h, w).
    """

    frame0: Tensor
    frame1: Tensor
    flow: Tensor
    blend: Tensor

    def picture(self) -> Tensor:
        """Both frames blended: (n, 3, h, w)."""
        share = torch.sigmoid(self.blend)
        return self.frame0 * share + self.frame1 * (1 - share)


class IFNet(nn.Module):
    """The flow network.

    Args:
        widths: channels of the four blocks.

    Source: *RIFE*, section 3.1, and release 4.0 for what a time between the frames is.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        for number, width in enumerate(widths):
            setattr(self, f"block{number}", FlowBlock(12 if number else 7, width))

    def forward(self, frame0: Tensor, frame1: Tensor, time: Tensor) -> Warped:
        """Both frames as they are at a time between them.

        Args:
            frame0: (n, 3, h, w) in [0, 1], sides multiples of 32.
            frame1: the same.
            time: (n, 1), 0 is frame 0, 1 is frame 1.
        """
        when = time[:, :, None, None].expand_as(frame0[:, :1])
        flow, blend, shown = None, None, (frame0, frame1)
        for number, shrink in enumerate(SHRINK):
            seen = (*shown, when) if blend is None else (*shown, when, blend)
            more, logit = getattr(self, f"block{number}")(torch.cat(seen, 1), flow, shrink)
            flow = more if flow is None else flow + more
            blend = logit if blend is None else blend + logit
            shown = (warped(frame0, flow[:, :2]), warped(frame1, flow[:, 2:]))
        assert flow is not None and blend is not None
        return Warped(*shown, flow, blend)

    def at_half(self, frame0: Tensor, frame1: Tensor, time: Tensor) -> Warped:
        """The same by the flow of the frames at half their size, sides multiples of 64: whole frames are warped once, not eight times."""
        found = self(_resized(frame0, 0.5), _resized(frame1, 0.5), time)
        flow, blend = 2 * _resized(found.flow, 2), _resized(found.blend, 2)
        return Warped(warped(frame0, flow[:, :2]), warped(frame1, flow[:, 2:]), flow, blend)


def convolution(planes: int, width: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution and its activation."""
    return nn.Sequential(nn.Conv2d(planes, width, 3, stride, 1), nn.PReLU(width))


def warped(picture: Tensor, flow: Tensor) -> Tensor:
    """The picture where the flow points, bilinear, its border repeated: (n, c, h, w).

    Args:
        picture: (n, c, h, w).
        flow: (n, 2, h, w), x then y, in pixels.
    """
    height, width = picture.shape[-2:]
    xs = torch.arange(width, dtype=flow.dtype, device=flow.device)
    ys = torch.arange(height, dtype=flow.dtype, device=flow.device).unsqueeze(1)
    across = (xs + flow[:, 0]) * (2 / (width - 1)) - 1
    down = (ys + flow[:, 1]) * (2 / (height - 1)) - 1
    grid = torch.stack((across, down), 3)
    return F.grid_sample(picture, grid, "bilinear", "border", align_corners=True)


def halved_flow(flow: Tensor) -> Tensor:
    """The flow of a picture of half the size: (n, 2, h / 2, w / 2)."""
    return _resized(flow, 0.5) * 0.5


def _resized(x: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return x
    return F.interpolate(
        x, scale_factor=scale, mode="bilinear", align_corners=False, recompute_scale_factor=False
    )
