"""How operators that torch.onnx does not know leave for ONNX."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import onnxscript
import torch

from edgeflow.export.forms import scattering
from edgeflow.export.plugins.nodes import PLUGIN_FORMS
from edgeflow.ir.errors import ExportError
from edgeflow.ops import adabd as _adabd  # noqa: F401  registers its operator
from edgeflow.ops import cost_volume as _cost_volume  # noqa: F401  likewise
from edgeflow.ops import deform_conv
from edgeflow.ops.custom_op import FORMS, overload
from edgeflow.targets import DEFORM_CONV


def translations(form: str) -> dict[Callable[..., Any], Callable[..., Any]]:
    """What `torch.onnx.export` takes as its custom translation table; operators not in it leave as plain torch.

    Args:
        form: of operators that have plugins, one of `edgeflow.targets.DEFORM_CONV`.

    Raises:
        ExportError: an unknown form.
    """
    if form not in DEFORM_CONV:
        raise ExportError(f"unknown form of deformable convolution {form!r}: use {' or '.join(DEFORM_CONV)}")
    op = onnxscript.opset19
    table: dict[Callable[..., Any], Callable[..., Any]] = {}
    table[torch.ops.aten.scatter.src] = partial(scattering.scatter_onnx, op)
    for name in PLUGIN_FORMS if form == "plugin" else FORMS:
        table[overload(name)] = partial(_form(name, form), op)
    if hasattr(torch.ops.torchvision, "deform_conv2d"):  # once torchvision was imported
        form_of = partial(_form("edgeflow::deform_conv2d", form), op)
        table[torch.ops.torchvision.deform_conv2d.default] = partial(deform_conv.from_torchvision, form_of)
    return table


def _form(name: str, form: str) -> Callable[..., Any]:
    return PLUGIN_FORMS[name] if form == "plugin" else getattr(FORMS[name], form)
