"""Any network as a flow of one call, so that it can be compiled and timed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor as TorchTensor
from torch import nn

from edgeflow.flow import Flow, RoutedModule, Tensor


class Whole(RoutedModule):
    """A network that takes tensors and makes one.

    Args:
        module: the network.
        inputs: of a run, one sample: their shapes are fixed.
    """

    def __init__(self, module: nn.Module, inputs: Sequence[TorchTensor]) -> None:
        super().__init__()
        self.module = module
        with torch.no_grad():
            self._outputs = len(made) if isinstance(made := module(*inputs), tuple | list) else 1
        self.inputs = tuple(Tensor(f"in{i}", tuple(each.shape[1:])) for i, each in enumerate(inputs))  # type: ignore[misc]
        self.outputs = tuple(Tensor(f"out{i}") for i in range(self._outputs))  # type: ignore[misc]

    def flow(self, f: Flow, *inputs: Any) -> Any:
        """One call."""
        return f.call(self.module, *inputs)
