"""Segments by their names: a segment is a submodule of the model, or a method of one."""

from __future__ import annotations

from typing import Any

from torch import nn

from edgeflow.ir.errors import FlowError


def segment_name(model: nn.Module, segment: Any) -> str:
    """Dotted name of a segment, which is a submodule or a method of one.

    Raises:
        FlowError: it is neither, so it could not be found again.
    """
    owner, method = (segment, "") if isinstance(segment, nn.Module) else (None, "")
    if owner is None and isinstance(getattr(segment, "__self__", None), nn.Module):
        owner, method = segment.__self__, segment.__func__.__name__
    for name, module in model.named_modules():
        if module is owner:
            return ".".join(part for part in (name, method) if part) or "forward"
    raise FlowError(
        f"{segment!r} is not a segment of {type(model).__name__}: call one of its submodules or their methods"
    )


def find_segment(model: nn.Module, name: str) -> Any:
    """The submodule or method that `segment_name` named."""
    found: Any = model
    for part in name.split("."):
        found = getattr(found, part)
    return found
