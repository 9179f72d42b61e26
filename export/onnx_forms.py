"""How operators that torch.onnx does not know leave for ONNX."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import onnxscript
import torch

from edgeflow.ir.errors import ExportError
from edgeflow.ops import adabd as _adabd  # noqa: F401  registers its operator
from edgeflow.ops import deform_conv
from edgeflow.ops.custom_op import FORMS

DEFORM_CONV = ("native", "standard")
"""Forms of deformable operators: around ONNX's `DeformConv`, or of operators of older opsets alone."""


def translations(form: str) -> dict[Callable[..., Any], Callable[..., Any]]:
    """What `torch.onnx.export` takes as its custom translation table.

    Args:
        form: one of `DEFORM_CONV`.

    Raises:
        ExportError: an unknown form.
    """
    if form not in DEFORM_CONV:
        raise ExportError(f"unknown form of deformable convolution {form!r}: use {' or '.join(DEFORM_CONV)}")
    op = onnxscript.opset19
    table: dict[Callable[..., Any], Callable[..., Any]] = {}
    for name, forms in FORMS.items():
        overload = getattr(torch.ops.edgeflow, name.split("::")[1]).default
        table[overload] = partial(getattr(forms, form), op)
    if hasattr(torch.ops.torchvision, "deform_conv2d"):  # once torchvision was imported
        form_of = partial(getattr(FORMS["edgeflow::deform_conv2d"], form), op)
        table[torch.ops.torchvision.deform_conv2d.default] = partial(deform_conv.from_torchvision, form_of)
    return table
