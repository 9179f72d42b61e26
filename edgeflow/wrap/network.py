"""The ways in which a static network can make its picture: of a whole frame of any size, of a tile, and of half of either's size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeflow.wrap.form import Form, run


class Network(nn.Module):
    """A static network, as it is.

    Args:
        network: in eval mode.
        form: what it takes and makes.
        detail: how much of what half the size loses of a frame is put back into the picture, 0 to 1.
    """

    detail: Tensor

    def __init__(self, network: nn.Module, form: Form, detail: float = 0.0) -> None:
        super().__init__()
        self.network, self.form = network, form
        self.register_buffer("detail", torch.tensor(detail))

    def forward(self, *frames: Tensor) -> Tensor:
        """(n, 3, h, w) each, sides multiples of what the network takes -> (n, c, scale * h, scale * w)."""
        return run(self.network, frames)

    def of_any_size(self, *frames: Tensor) -> Tensor:
        """The same for sides of any length: borders are repeated to the next multiple of what the network takes."""
        made = self(*(completed(frame, self.form.multiple) for frame in frames))
        return self._cropped(made, frames[0])

    def at_half(self, *frames: Tensor) -> Tensor:
        """By frames of half the size, enlarged, with the detail that they lost put back: for a quarter of the work."""
        made = _enlarged(self(*(F.avg_pool2d(frame, 2) for frame in frames)), 2)
        return made + self.detail * self.lost(frames[-1]) if self.form.picture else made

    def at_half_of_any_size(self, *frames: Tensor) -> Tensor:
        """`at_half`, for sides of any length."""
        made = self.at_half(*(completed(frame, 2 * self.form.multiple) for frame in frames))
        return self._cropped(made, frames[0])

    def lost(self, frame: Tensor) -> Tensor:
        """What half of a frame's size loses of it, as large as the picture: (n, 3, scale * h, scale * w)."""
        return _enlarged(frame - _enlarged(F.avg_pool2d(frame, 2), 2), self.form.scale)

    def lost_of_any_size(self, frame: Tensor) -> Tensor:
        """`lost`, for sides of any length."""
        return self._cropped(self.lost(completed(frame, 2)), frame)

    def _cropped(self, made: Tensor, frame: Tensor) -> Tensor:
        """What is made of a frame, without what completed it."""
        height, width = (self.form.scale * side for side in frame.shape[-2:])
        return made[..., :height, :width] if self.form.scale else made


def completed(frame: Tensor, multiple: int) -> Tensor:
    """A frame whose sides are multiples of so many pixels, by repeated borders."""
    height, width = frame.shape[-2:]
    reach = (0, -width % multiple, 0, -height % multiple)
    return F.pad(frame, reach, mode="replicate") if any(reach) else frame


def _enlarged(picture: Tensor, factor: int) -> Tensor:
    """(n, c, h, w) -> (n, c, factor * h, factor * w)."""
    return F.interpolate(picture, scale_factor=float(factor), mode="bilinear") if factor > 1 else picture


def stacked(frames: Sequence[Tensor]) -> Tensor:
    """Several frames (n, 3, h, w) as one tensor (n, 3 x frames, h, w)."""
    return torch.cat(list(frames), 1) if len(frames) > 1 else frames[0]
