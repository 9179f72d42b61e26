"""On which grid a network's tiles may begin: found from how its tensors shrink.

A network that shrinks its input by 4 (strides, pooling, pixel unshuffling, windows) sees groups of 4 pixels: a tile that
begins inside such a group computes another function than the whole frame. The same segments are run on tiles of one
size and of twice that, on fake tensors. A dimension that grows by an nth of what the tile grew by is shrunk n times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import lcm
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

Sizes = list[tuple[int, ...]]
"""The dimensions of all tensors that a segment makes on its way, in order."""


class TensorSizes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the dimensions of every tensor with a height and a width that is made while it is on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Sizes = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, torch.Tensor) and tensor.ndim >= 4:
                self.found.append(tuple(tensor.shape))
        return made


def grid_of(small: Sizes, large: Sizes, size: int) -> int:
    """The grid on which tiles must begin, in pixels; 1 if any will do.

    Args:
        small: sizes made of tiles of `size` pixels.
        large: of tiles twice as large, by the same calls.
        size: of the smaller tiles.
    """
    found = {1}
    if len(small) != len(large):  # another way for another size: what corresponds is not known
        return 1
    for one, two in zip(small, large, strict=True):
        if len(one) == len(two):
            found |= set(_shrunk(zip(one, two, strict=True), size))
    return lcm(*found)


def _shrunk(sides: Iterable[tuple[int, int]], size: int) -> Iterable[int]:
    """How many times each dimension is smaller than the tile, of those that grow in proportion to it."""
    for one, two in sides:
        grown = two - one
        # A dimension may lack a border (convolutions without padding), but not more than itself.
        if 0 < grown <= size and size % grown == 0 and abs(grown - one) < grown / 2:
            yield size // grown
