"""The grids that a model's tilings work on, found once per model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from edgeflow.flow.shrinkage import grid_of
from edgeflow.flow.tracing import TraceFlow
from edgeflow.ir.errors import FlowError

if TYPE_CHECKING:
    from edgeflow.flow.module import RoutedModule

_FOUND: WeakKeyDictionary[RoutedModule, Mapping[str, int]] = WeakKeyDictionary()
"""Grids by model: how a model shrinks its input does not change once it is built."""


def found_grids(model: RoutedModule, size: Mapping[str, int]) -> Mapping[str, int]:
    """The grid that the segments of each tiling work on, in pixels, by region set; see `edgeflow.flow.shrinkage`.

    Nothing is found where a segment takes tiles of its one size only.

    Args:
        model: the routed module.
        size: values for the free dimensions of its inputs.
    """
    if model not in _FOUND:
        small, large = TraceFlow(model, size), TraceFlow(model, size, enlarged=2)
        tilings = small.tilings()
        try:
            large.tilings()
        except FlowError:
            tilings = {}
        _FOUND[model] = {
            name: grid_of(small.sizes[name], large.sizes[name], tiling.size)
            for name, tiling in tilings.items()
        }
    return _FOUND[model]
