"""Whether two captures of a segment, at frames of two sizes, are one computation.

A capture asserts more than its result hangs on: whether a tensor lies in one piece in memory, or a slice takes all there is, is asked
while operators are taken apart, and answered for the sizes at hand. If other answers lead to the same operators on the same arguments,
with sizes as symbols, nothing hung on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

_ASSERTING = (torch.ops.aten._assert_scalar.default, torch.ops.aten._assert_tensor_metadata.default)


def same_graph(one: torch.export.ExportedProgram, other: torch.export.ExportedProgram) -> bool:
    """Whether two captured programs have the same inputs, constants, operators and arguments; assertions do not count."""
    if str(one.graph_signature.input_specs) != str(other.graph_signature.input_specs):
        return False
    if one.constants.keys() != other.constants.keys():
        return False
    constants = ((one.constants[name], other.constants[name]) for name in one.constants)
    if not all(
        isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and torch.equal(a, b)
        for a, b in constants
    ):
        return False
    return list(_lines(one.graph_module)) == list(_lines(other.graph_module))


def _lines(module: torch.fx.GraphModule) -> Iterator[str]:
    """A line for every node that outputs hang on, with nodes numbered in order."""
    numbers: dict[torch.fx.Node, int] = {}
    needed = _needed(module.graph)
    for node in module.graph.nodes:
        if node in needed:
            numbers[node] = len(numbers)
            yield f"{node.op} {node.target} {_told(node.args, numbers)} {_told(node.kwargs, numbers)}"
    for name, part in module.named_children():
        if isinstance(part, torch.fx.GraphModule):
            yield name
            yield from _lines(part)


def _needed(graph: torch.fx.Graph) -> set[torch.fx.Node]:
    """Inputs, the output, and all that it is made of."""
    waiting = [graph.output_node(), *(node for node in graph.nodes if node.op == "placeholder")]
    found: set[torch.fx.Node] = set()
    while waiting:
        node = waiting.pop()
        if node not in found and node.target not in _ASSERTING:
            found.add(node)
            waiting += node.all_input_nodes
    return found


def _told(value: Any, numbers: dict[torch.fx.Node, int]) -> str:
    if isinstance(value, torch.fx.Node):
        return f"%{numbers[value]}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_told(v, numbers)}" for k, v in value.items()) + "}"
    if isinstance(value, slice):
        return f"slice {_told((value.start, value.stop, value.step), numbers)}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_told(item, numbers) for item in value) + "]"
    return f"{type(value).__name__} {value!r}"
