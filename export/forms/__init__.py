"""Operators in other operators of torch, for those that torch.onnx has no form of or whose form libraries get wrong.

One subject per file: functions with the operator's own arguments, that say `NotImplemented` where it may stay as it is.
They work on the captured program, so they are plain torch, tested as plain torch, and free sizes stay free in them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from edgeflow.export.forms import (
    adaptive,
    attention,
    bags,
    cumulative,
    elementwise,
    normalising,
    padding,
    pooling,
    resizing,
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
        normalising,
        padding,
        pooling,
        resizing,
        scattering,
        sorting,
        transposed,
    )
    for overload, form in subject.FORMS.items()
}
"""By the operator as it stands in a captured program."""


def with_forms(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """A captured program with every operator of `FORMS` in its form; the program itself where it has none.

    Raises:
        ExportError: an operator has a form for sizes that are known, and here they are free.
    """
    modules = [m for m in program.graph_module.modules() if isinstance(m, torch.fx.GraphModule)]
    if not any(node.target in FORMS for module in modules for node in module.graph.nodes):
        return program
    return program.run_decompositions(FORMS)
