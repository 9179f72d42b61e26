"""The module a model's author writes: axes, inputs, outputs and one method `flow`."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from edgeflow.flow.eager import Eager
from edgeflow.flow.flow import Flow
from edgeflow.ir.errors import FlowError
from edgeflow.ir.program import Interface
from edgeflow.ir.route import Axis
from edgeflow.ir.task import Task


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
    judged_in_tiles: ClassVar[bool] = False
    """It was trained and judged tile by tile: how far that is from the whole frame is known, and an export does not say it."""

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
        outputs = Eager(self)(*inputs).outputs
        return outputs[0] if len(outputs) == 1 else outputs
