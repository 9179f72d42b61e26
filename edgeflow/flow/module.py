"""The module a model's author writes: axes, inputs, outputs and one method `flow`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from edgeflow.ir.errors import FlowError
from edgeflow.ir.program import Interface
from edgeflow.ir.route import Axis
from edgeflow.ir.task import Task, default_task

if TYPE_CHECKING:
    from edgeflow.flow.flow import Flow


class RoutedModule(nn.Module):
    """A network whose compute depends on its input.

    A subclass names its axes as class attributes (or sets them in its constructor), declares
    `inputs` and `outputs`, and writes `flow`. Calling the module runs the flow eagerly.
    """

    inputs: ClassVar[tuple[Interface, ...]]
    outputs: ClassVar[tuple[Interface, ...]]
    size: tuple[int, int] | None = None
    """(height, width) of the frames it is compiled for if its exporter names none."""
    task: Task | None = None
    """What a call is made of, and what comes of it; if none is given, what the inputs suggest (`default_task`)."""

    def flow(self, f: Flow, *inputs: Any) -> Any:
        """State the routing in the primitives of `f`; return the output values."""
        raise FlowError(f"{type(self).__name__} has no flow: write `def flow(self, f, ...)`")

    @property
    def axes(self) -> dict[str, Axis]:
        """Its axes by name."""
        found: dict[str, Any] = {}
        for scope in (*reversed(type(self).__mro__), self):
            found.update(vars(scope))
        return {name: value for name, value in found.items() if isinstance(value, Axis)}

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Run the flow eagerly on one frame: each input (1, ...) float32; images in [0, 1]."""
        from edgeflow.flow.eager import Eager

        outputs = Eager(self)(*inputs).outputs
        return outputs[0] if len(outputs) == 1 else outputs


def task_of(model: RoutedModule) -> Task:
    """The model's task: its own, or what its inputs suggest.

    Raises:
        FlowError: its own does not go with its inputs and outputs.
    """
    if model.task is None:
        return default_task(model.inputs, model.outputs)
    model.task.check(type(model).__name__, model.inputs, model.outputs)
    return model.task


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
