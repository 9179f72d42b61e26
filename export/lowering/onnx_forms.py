"""How operators that torch.onnx does not know leave for ONNX."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import onnxscript
import torch

from edgeflow.export.forms import scattering
from edgeflow.export.operators import operators
from edgeflow.ir.errors import ExportError
from edgeflow.ops import deform_conv
from edgeflow.ops.custom_op import FORMS, overload
from edgeflow.targets import OPERATOR_FORMS


def translations(form: str) -> dict[Callable[..., Any], Callable[..., Any]]:
    """What `torch.onnx.export` takes as its custom translation table; operators not in it leave as plain torch.

    Args:
        form: of edgeflow's own operators, one of `edgeflow.targets.OPERATOR_FORMS`. One without a plugin leaves as
            standard operators where plugins are asked for.

    Raises:
        ExportError: an unknown form.
    """
    if form not in OPERATOR_FORMS:
        raise ExportError(f"unknown form of operators {form!r}: use {' or '.join(OPERATOR_FORMS)}")
    op = onnxscript.opset19
    forms = _forms(form)
    table: dict[Callable[..., Any], Callable[..., Any]] = {
        overload(name): partial(leave, op) for name, leave in forms.items()
    }
    table[torch.ops.aten.scatter.src] = partial(scattering.scatter_onnx, op)
    if hasattr(torch.ops.torchvision, "deform_conv2d"):  # once torchvision was imported
        form_of = partial(forms["edgeflow::deform_conv2d"], op)
        table[torch.ops.torchvision.deform_conv2d.default] = partial(deform_conv.from_torchvision, form_of)
    return table


def _forms(form: str) -> dict[str, Callable[..., Any]]:
    plugins = {own.name: own.plugin.leave for own in operators() if own.plugin}
    if form == "plugin":
        return {name: forms.standard for name, forms in FORMS.items()} | plugins
    return {name: getattr(forms, form) for name, forms in FORMS.items()}
