"""Whether what was captured holds for all sizes it will be run at, or was frozen for some.

The exporter runs a segment's Python once. A branch on a size, a size made a Python number, a reshape into groups of 8: each
holds for some sizes only, and the capture says so, in the ranges of its symbols and in assertions on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import gcd
from typing import Any

import sympy
import torch

from edgeflow.export.lowering.same_graph import same_graph
from edgeflow.ir.errors import ExportError

BATCH = "batch"
"""Name of the dimension that counts regions."""

SMALLEST = 64
"""Frames smaller than this many pixels a side may be refused when they come."""

LARGEST = 16000
"""Frames larger than this many pixels a side are not looked at."""

_TRIED = (
    64,
    65,
    66,
    68,
    72,
    80,
    96,
    97,
    128,
    160,
    192,
    256,
    270,
    360,
    480,
    540,
    544,
    641,
    720,
    960,
    1000,
    1080,
    1280,
    1920,
    2160,
    3840,
)
"""Sides of frames, in pixels, at which assertions are evaluated."""

Size = tuple[int, int]


def check_free(
    captured: torch.export.ExportedProgram | None,
    dynamic: Sequence[Mapping[int, Any]],
    portrait: bool,
    where: str,
    again: Callable[[Size], torch.export.ExportedProgram] | None = None,
) -> None:
    """Refuse a capture that holds for some sizes only.

    What it asserts of sizes does not count where frames of the sizes that it leaves out lead to the same graph.

    Args:
        captured: of a segment; None if it was traced in a way that says nothing of sizes.
        dynamic: per input its symbolic dimensions, `torch.export.Dim` by position.
        portrait: it is for frames that are higher than wide; else for all others.
        where: what was captured, for messages.
        again: captures it with a frame of this (height, width); None if only its assertions tell.

    Raises:
        ExportError: says which sizes it holds for.
    """
    if captured is None:
        raise ExportError(f"{where}: nobody can say which frame sizes it holds for: {_CURE}")
    asked = dict(_symbols(captured, dynamic, where))
    names = {symbol: dim.__name__ for symbol, dim in asked.items()}
    for symbol, dim in asked.items():
        ranges, name = captured.range_constraints.get(symbol), dim.__name__
        if ranges is None:
            continue
        if name == BATCH:
            if ranges.lower > 2 or ranges.upper < dim.max:
                raise _few_regions(f"{ranges.lower} to {ranges.upper}", where)
        elif ranges.upper < min(dim.max, LARGEST) or ranges.lower > max(dim.min, SMALLEST):
            raise ExportError(
                f"{where}: was traced for a frame's {name} from {ranges.lower} to {ranges.upper} pixels, and computes "
                f"something else beyond: {_CURE}"
            )
    conditions = list(_assertions(captured, names))
    wrong = [size for size in _frames(portrait) if not _hold(conditions, size)]
    if wrong and not (again and _same_elsewhere(captured, again, wrong, dynamic, where)):
        raise ExportError(f"{where}: takes {_described(portrait, wrong)}: {_CURE}")


def _same_elsewhere(
    captured: torch.export.ExportedProgram,
    again: Callable[[Size], torch.export.ExportedProgram],
    wrong: Sequence[Size],
    dynamic: Sequence[Mapping[int, Any]],
    where: str,
) -> bool:
    """Whether captures at the sizes that this one leaves out are the same graph, until none is left out by all of them."""
    for _ in range(_CAPTURES):
        try:
            other = again(wrong[0])
            names = {symbol: dim.__name__ for symbol, dim in _symbols(other, dynamic, where)}
        except Exception:  # torch raises whatever the segment's own code does at that size
            return False
        if not same_graph(captured, other):
            return False
        conditions = list(_assertions(other, names))
        wrong = [size for size in wrong if not _hold(conditions, size)]
        if not wrong:
            return True
    return False


_CAPTURES = 4
"""So many captures are made at other sizes before it is given up that they cover all."""

_CURE = "fix the frame's size with --size WIDTHxHEIGHT, or make the segment work at any size (h // 2 for int(h / 2))"


def _symbols(
    captured: torch.export.ExportedProgram, dynamic: Sequence[Mapping[int, Any]], where: str
) -> Iterator[tuple[sympy.Symbol, Any]]:
    """The symbols that stand for free dimensions, with what was asked of them; a dimension that is none was frozen."""
    user = [spec.arg.name for spec in captured.graph_signature.input_specs if spec.kind.name == "USER_INPUT"]
    nodes = {node.name: node for node in captured.graph.nodes if node.op == "placeholder"}
    for node, dims in zip((nodes[name] for name in user), dynamic, strict=True):
        for position, dim in dims.items():
            found, name = node.meta["val"].shape[position], dim.__name__
            expression = getattr(getattr(found, "node", None), "expr", None)
            if isinstance(expression, sympy.Symbol):
                yield expression, dim
            elif name == BATCH:
                raise _few_regions(str(found), where)
            elif isinstance(found, int):
                raise ExportError(
                    f"{where}: makes the frame's {name} a Python number (it became {found} for all frames): {_CURE}"
                )
            else:
                raise ExportError(f"{where}: takes frames whose {name} is {expression} only: {_CURE}")


def _few_regions(count: str, where: str) -> ExportError:
    return ExportError(
        f"{where}: holds for {count} regions at a time only, but tiles run in batches of any number: "
        "keep the first dimension free (x.shape[0] or -1 in view and reshape, no groups counted by it)"
    )


def _assertions(
    captured: torch.export.ExportedProgram, names: Mapping[sympy.Symbol, str]
) -> Iterator[sympy.Basic]:
    """What the capture asserts of free sizes, in terms of `height` and `width`."""
    named = {symbol: sympy.Symbol(name, integer=True, positive=True) for symbol, name in names.items()}
    for node in captured.graph.nodes:
        if node.target is torch.ops.aten._assert_scalar.default:
            value = node.args[0].meta["val"] if isinstance(node.args[0], torch.fx.Node) else node.args[0]
            expression = getattr(getattr(value, "node", None), "expr", None)
            if isinstance(expression, sympy.Basic):
                yield expression.subs(named)
    for expression in _deferred(captured):
        yield expression.subs(named)


def _deferred(captured: torch.export.ExportedProgram) -> Iterator[sympy.Basic]:
    """What torch meant to assert and left out of the graph: that `int(height / 2)` is the number that it was."""
    for node in captured.graph.nodes:
        mode = getattr(node.meta.get("val"), "fake_mode", None)
        if mode is not None and mode.shape_env is not None:
            for asserts in mode.shape_env.deferred_runtime_asserts.values():
                yield from (own.expr for own in asserts)
            return


def _frames(portrait: bool) -> Iterator[Size]:
    """(height, width) of frames of every shape."""
    for height in _TRIED:
        for width in _TRIED:
            if (height > width) == portrait:
                yield height, width


def _hold(conditions: Sequence[sympy.Basic], size: Size) -> bool:
    sides = dict(zip(("height", "width"), size, strict=True))
    values = {symbol: sides.get(symbol.name, 2) for c in conditions for symbol in c.free_symbols}
    return all(condition.subs(values) != sympy.false for condition in conditions)


def _described(portrait: bool, wrong: Sequence[Size]) -> str:
    """The sizes that are taken, in words: by what they are multiples of, else by an example of what is not."""
    held = [size for size in _frames(portrait) if size not in set(wrong)]
    multiples = [gcd(*sides) if sides else 1 for sides in zip(*held, strict=True)]
    if held and max(multiples) > 1:
        sides = [
            f"{side} is a multiple of {by}"
            for side, by in zip(("height", "width"), multiples, strict=True)
            if by > 1
        ]
        return f"frames whose {' and '.join(sides)} only"
    height, width = wrong[0]
    return f"not all sizes of frames, for example not {width}x{height}"
