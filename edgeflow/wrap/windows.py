"""Networks that take the frames of a call as one tensor: stacked by channels, or as a clip."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from edgeflow.flow.quiet import quiet
from edgeflow.ir.errors import FlowError

LENGTHS = range(2, 10)
"""Frames of a call that are tried."""
SIDE = 64


class Window(nn.Module):
    """A network of one tensor, as one of frames.

    Args:
        network: takes (n, 3 x frames, h, w), or (n, frames, 3, h, w).
        frames: of a call.
        clip: whether it takes the latter.
    """

    def __init__(self, network: nn.Module, frames: int, clip: bool) -> None:
        super().__init__()
        self.network, self.frames, self.clip = network, frames, clip

    def forward(self, *frames: Tensor) -> Tensor:
        """(n, 3, h, w) each, oldest first -> what the network makes."""
        made: Tensor = self.network(torch.stack(frames, 1) if self.clip else torch.cat(frames, 1))
        return made


def window_of(network: nn.Module) -> nn.Module:
    """A network of one parameter as it is if that is a frame, else as a `Window` of as many frames as it takes.

    Raises:
        FlowError: it takes clips of any length.
    """
    if _runs(network, 3):
        return network
    for clip in (False, True):
        taken = [n for n in LENGTHS if _runs(network, *((n, 3) if clip else (3 * n,)))]
        if len(taken) == 1:
            return Window(network, taken[0], clip).eval()
        if taken:
            raise FlowError(
                f"{type(network).__name__} takes {'clips' if clip else 'stacks'} of any number of frames: wrap it in a module whose forward has "
                "one named argument for each frame"
            )
    return network


def _runs(network: nn.Module, *shape: int) -> bool:
    """Whether it takes a tensor (1, *shape, height, width) of some size, and makes one map (1, c, h, w) of it."""
    return any(_runs_at(network, side, *shape) for side in (SIDE, 4 * SIDE))


def _runs_at(network: nn.Module, side: int, *shape: int) -> bool:
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), quiet(), torch.no_grad():
            made = network(torch.empty(1, *shape, side, side * 3 // 2))
    except Exception:  # it refuses this shape, in whatever words
        return False
    made = made[0] if isinstance(made, tuple | list) and len(made) == 1 else made
    return isinstance(made, Tensor) and made.ndim == 4 and len(made) == 1
