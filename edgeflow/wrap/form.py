"""What a static network takes and makes, found by running it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from edgeflow.flow.quiet import quiet
from edgeflow.flow.shrinkage import TensorSizes, grid_of
from edgeflow.ir.errors import FlowError
from edgeflow.wrap.windows import Window

SIDES = (64, 128, 256)
"""Sides of the frames that a network is tried on, smallest first; those of one call are a side and one and a half."""
TIMES = ("time", "timestep", "t")
"""Names of a parameter that is no frame."""
MULTIPLES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Form:
    """What a network takes and makes.

    Attributes:
        images: frames that it takes.
        channels: of what it makes.
        scale: sides of what it makes over those of a frame; 0 if that is no whole number.
        multiple: sides of frames that it takes are multiples of so many pixels; others are completed by repeated borders.
        grid: tiles begin at multiples of so many pixels, or it would compute another function.
        last: what it makes belongs to the last of its frames, not to their middle.
    """

    images: int
    channels: int
    scale: int
    multiple: int
    grid: int
    last: bool = False

    @property
    def picture(self) -> bool:
        """Whether it makes pictures, and not maps of something else."""
        return self.channels == 3 and self.scale > 0

    @property
    def unit(self) -> int:
        """Sides and beginnings of tiles are multiples of so many pixels."""
        return lcm(self.multiple, self.grid)


def form_of(network: nn.Module, last: bool = False) -> Form:
    """Find what a network takes and makes.

    Args:
        network: in eval mode; called with pictures (1, 3, h, w) in [0, 1].
        last: what it makes belongs to the last of its frames.

    Raises:
        FlowError: it is no function of pictures alone, or makes no picture or map of them.
    """
    images = _images(network)
    side, made = _first_that_runs(network, images)
    _check_steady(network, images, side)
    height, width = made.shape[-2:]
    ratio = {height / side, width / (side * 3 // 2)}
    scale = int(ratio.pop()) if len(ratio) == 1 and height % side == 0 else 0
    multiple = next((m for m in MULTIPLES if _takes(network, images, side, m, scale)), side)
    return Form(images, made.shape[1], scale, multiple, _grid(network, images, side), last)


def _images(network: nn.Module) -> int:
    """How many pictures its forward takes: its parameters without a default.

    Raises:
        FlowError: none, any number, or a time besides.
    """
    if isinstance(network, Window):
        return network.frames
    name = type(network).__name__
    parameters = inspect.signature(network.forward).parameters.values()
    if any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters):
        raise FlowError(
            f"{name} takes any number of arguments: give its forward one named argument for each frame"
        )
    wanted = [each for each in parameters if each.default is inspect.Parameter.empty]
    wanted = [each for each in wanted if each.kind is not inspect.Parameter.VAR_KEYWORD]
    if not wanted:
        raise FlowError(f"{name} takes no picture: its forward has to take one for each frame")
    if wanted[-1].name in TIMES:
        raise FlowError(
            f"{name} takes a time, {wanted[-1].name}, besides frames: give it a default, such as 0.5. For RIFE use its own family, which is routed "
            "at any time: edgeflow export rife --target cpu -o rife.edgeflow"
        )
    return len(wanted)


def _first_that_runs(network: nn.Module, images: int) -> tuple[int, Tensor]:
    """The smallest side that the network takes, and what it makes."""
    reason = ""
    for side in SIDES:
        try:
            made = run(network, pictures(images, side, side * 3 // 2))
            break
        except FlowError:
            raise
        except Exception as error:  # the author's own code: anything may come
            lines = str(error).strip().splitlines() or [type(error).__name__]
            reason = f"{type(error).__name__}: {lines[0]}"
    else:
        raise FlowError(
            f"{type(network).__name__} cannot run on {'a picture' if images == 1 else f'{images} pictures'} (1, 3, {SIDES[-1]}, "
            f"{SIDES[-1] * 3 // 2}) in [0, 1] ({reason}): let `build` return a module that takes frames and nothing else"
        )
    return side, made


@torch.no_grad()
def run(network: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """The one map that a network makes: (n, c, h, w).

    Raises:
        FlowError: it makes something else, or branches on what pictures show.
    """
    try:
        made: Any = network(*inputs)
    except (DataDependentOutputException, DynamicOutputShapeException, GuardOnDataDependentSymNode) as error:
        raise FlowError(
            f"{type(network).__name__} branches on its data, or makes a shape of it ({str(error).splitlines()[0]}): a static network "
            "does the same whatever a picture shows"
        ) from error
    if isinstance(made, tuple | list) and len(made) == 1:
        (made,) = made
    if not isinstance(made, Tensor) or made.ndim != 4:
        what = f"a tensor {tuple(made.shape)}" if isinstance(made, Tensor) else f"a {type(made).__name__}"
        raise FlowError(
            f"{type(network).__name__} makes {what} of pictures: let it return one tensor (n, c, h, w)"
        )
    return made


def pictures(count: int, height: int, width: int) -> tuple[Tensor, ...]:
    """Random pictures (1, 3, height, width), the same each time."""
    random = torch.Generator().manual_seed(0)
    return tuple(torch.rand((1, 3, height, width), generator=random) for _ in range(count))


def _check_steady(network: nn.Module, images: int, side: int) -> None:
    """Refuse a network that remembers or draws.

    Raises:
        FlowError: it makes another picture of the same one, or writes a buffer.
    """
    inputs = pictures(images, side, side * 3 // 2)
    before = {name: buffer._version for name, buffer in network.named_buffers()}
    first, second = (run(network, inputs) for _ in range(2))
    name = type(network).__name__
    if changed := [key for key, buffer in network.named_buffers() if before.get(key) != buffer._version]:
        raise FlowError(
            f"{name} changes its buffer {changed[0]} when it runs: a network with a memory cannot be wrapped; write a flow "
            "with f.state, or put it into eval mode"
        )
    if not torch.equal(first.nan_to_num(), second.nan_to_num()):
        raise FlowError(
            f"{name} makes another picture of the same frame each time: it draws noise, drops out or counts its calls; "
            "put it into eval mode, or make what changes an input"
        )
    if not bool(first.isfinite().all()):
        raise FlowError(f"{name} makes NaN or infinity of a picture in [0, 1]: load weights that are whole")


def _takes(network: nn.Module, images: int, side: int, multiple: int, scale: int) -> bool:
    """Whether it takes frames that are no larger multiple of pixels, and makes pictures as large as theirs."""
    height, width = side + multiple, side + 3 * multiple
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), quiet():
            made = run(network, [torch.empty(1, 3, height, width) for _ in range(images)])
    except Exception:  # it refuses this size, in whatever words
        return False
    return not scale or tuple(made.shape[-2:]) == (scale * height, scale * width)


def _grid(network: nn.Module, images: int, side: int) -> int:
    """The grid that its tensors shrink to; see `edgeflow.flow.shrinkage`."""
    found = []
    for each in (side, 2 * side):
        with FakeTensorMode(allow_non_fake_inputs=True), quiet(), TensorSizes() as sizes:
            run(network, [torch.empty(1, 3, each, each) for _ in range(images)])
        found.append(sizes.found)
    return grid_of(found[0], found[1], side)
