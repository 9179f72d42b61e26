"""Operators in other operators of torch, for those that torch.onnx has no form of or whose form libraries get wrong.

One subject per file: functions with the operator's own arguments, that say `NotImplemented` where it may stay as it is.
They work on the captured program, so they are plain torch, tested as plain torch, and free sizes stay free in them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch

from edgeflow.export.forms import (
    adaptive,
    attention,
    bags,
    cumulative,
    elementwise,
    losses,
    normalising,
    padding,
    pooling,
    resizing,
    sampling,
    scattering,
    sorting,
    transposed,
)

FORMS: dict[Any, Callable[..., Any]] = {
    overload: form
    for subject in (
        adaptive,
        attention,
        bags,
        cumulative,
        elementwise,
        losses,
        normalising,
        padding,
        pooling,
        resizing,
        sampling,
        scattering,
        sorting,
        transposed,
    )
    for overload, form in subject.FORMS.items()
}
"""By the operator as it stands in a captured program."""


def with_forms(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """A captured program with every operator of `FORMS` in its form; the program itself where none needs it.

    Raises:
        ValueError: an operator has a form for sizes that are known, and here they are free.
    """
    modules = [m for m in program.graph_module.modules() if isinstance(m, torch.fx.GraphModule)]
    nodes = [node for module in modules for node in module.graph.nodes if node.target in FORMS]
    return program.run_decompositions(FORMS) if any(map(_needs_form, nodes)) else program


def _needs_form(node: torch.fx.Node) -> bool:
    """Whether a node's form says anything of its arguments, tried on their shapes alone."""
    args, keywords = torch.fx.node.map_arg((node.args, dict(node.kwargs)), lambda n: n.meta["val"])
    with _mode_of(node):
        return FORMS[node.target](*args, **keywords) is not NotImplemented


def _mode_of(node: torch.fx.Node) -> Any:
    """The mode in which a node's values have shapes alone."""
    found = [n.meta["val"].fake_mode for n in node.all_input_nodes if hasattr(n.meta.get("val"), "fake_mode")]
    return found[0] if found else nullcontext()
