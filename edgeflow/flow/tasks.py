"""The task of a model: what a call of it is made of, and what comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeflow.ir.task import Task, default_task

if TYPE_CHECKING:
    from edgeflow.flow.module import RoutedModule


def task_of(model: RoutedModule) -> Task:
    """The model's task: its own, or what its inputs suggest.

    Raises:
        FlowError: its own does not go with its inputs and outputs.
    """
    if model.task is None:
        return default_task(model.inputs, model.outputs)
    model.task.check(type(model).__name__, model.inputs, model.outputs)
    return model.task
