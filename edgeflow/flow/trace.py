"""Records a model's flow as a `Program`: at one frame size, or at two, for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgeflow.flow.grids import found_grids
from edgeflow.flow.module import RoutedModule
from edgeflow.flow.soundness import check_model
from edgeflow.flow.tracing import TraceFlow
from edgeflow.ir.errors import FlowError
from edgeflow.ir.program import Program, Value

FREE_SIZES = ({"height": 720, "width": 1280}, {"height": 544, "width": 960})
"""Sizes at which a flow with free dimensions is traced; what differs between them is free."""


def trace(model: RoutedModule, size: Mapping[str, int] | None = None, *, portrait: bool = False) -> Program:
    """Record a model's flow.

    Args:
        model: the routed module.
        size: values for the free dimensions of its inputs, such as height and width. If not
            given, they stay free; then nothing but tiling may depend on them.
        portrait: with free dimensions, trace for frames higher than wide.

    Raises:
        FlowError: a segment's control flow depends on data, unlike shapes are joined, or a
            shape depends on a free dimension.
    """
    check_model(model)
    if size is not None:
        _check_own_size(model, size)
    if not any(isinstance(d, str) for spec in model.inputs for d in spec.shape):
        return TraceFlow(model, {}, found_grids(model, {})).record("any")
    if size is not None:
        return _fixed(model, size)
    one, other = FREE_SIZES
    grids = found_grids(model, one)
    if portrait:
        one, other = ({"height": s["width"], "width": s["height"]} for s in FREE_SIZES)
    frame = "portrait" if portrait else "landscape"
    if not any(d in one for spec in model.inputs for d in spec.shape):
        frame = "any"
    first, second = (TraceFlow(model, each, grids).record(frame) for each in (one, other))
    return _generalise(first, second, one, other)


def _check_own_size(model: RoutedModule, size: Mapping[str, int]) -> None:
    """Refuse a size where frames have one of their own."""
    for spec in model.inputs:
        height, width = spec.shape[-2:] if spec.image else ("height", "width")
        if isinstance(height, int) and (height, width) != (size["height"], size["width"]):
            raise FlowError(f"the model's own frames are {width}x{height}: leave --size out")


def _fixed(model: RoutedModule, size: Mapping[str, int]) -> Program:
    """Trace at one size; a model that cannot take it says which it can."""
    try:
        return TraceFlow(model, size, found_grids(model, size)).record(f"{size['width']}x{size['height']}")
    except FlowError as error:
        if nearest := _nearest(model, size):
            raise FlowError(
                f"{error}; the nearest size that the model takes is {nearest['width']}x{nearest['height']}"
            ) from error
        raise


def _nearest(model: RoutedModule, size: Mapping[str, int]) -> dict[str, int] | None:
    """The nearest size at which the flow can be traced, among multiples of powers of two and the model's own."""
    tried = [
        {name: max(multiple * round(side / multiple), multiple) for name, side in size.items()}
        for multiple in (2, 4, 8, 16, 32, 64, 128)
    ]
    if model.size:
        tried.append(dict(zip(("height", "width"), model.size, strict=True)))
    for other in sorted(tried, key=lambda other: sum(abs(other[name] - size[name]) for name in size)):
        if other != size and _traces(model, other):
            return other
    return None


def _traces(model: RoutedModule, size: Mapping[str, int]) -> bool:
    try:
        TraceFlow(model, size).record("any")
    except FlowError:
        return False
    return True


def _generalise(first: Program, second: Program, one: Mapping[str, int], other: Mapping[str, int]) -> Program:
    values = []
    for a, b in zip(first.values, second.values, strict=True):
        shapes = []
        for (variant, mine), (_, theirs) in zip(a.shapes, b.shapes, strict=True):
            dims = [_free(x, y, one, other, a) for x, y in zip(mine, theirs, strict=True)]
            shapes.append((variant, tuple(dims)))
        values.append(replace(a, shapes=tuple(shapes)))
    return replace(first, values=tuple(values))


def _free(
    mine: int | str, theirs: int | str, one: Mapping[str, int], other: Mapping[str, int], value: Value
) -> int | str:
    if mine == theirs:
        return mine
    for name in one:
        if mine == one[name] and theirs == other[name]:
            return name
    raise FlowError(
        f"the shape of {value.name} depends on the frame's size ({mine} and {theirs} for two sizes): "
        "give the size (--size WIDTHxHEIGHT), or resize inside the segment to a fixed size, or to the frame's own"
    )
