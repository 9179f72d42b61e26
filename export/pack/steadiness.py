"""Segments that answer differently when they are asked again: dropout left on, noise, counters.

An engine is a function of its inputs. What else a segment reads would be lost without a word, or frozen as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from edgeflow.flow.flow import leaves
from edgeflow.ir.errors import ExportError


@torch.no_grad()
def check_steady(
    run: Callable[..., Any], model: nn.Module, inputs: Sequence[torch.Tensor], where: str
) -> tuple[torch.Tensor, ...]:
    """Refuse a segment that is no function of its inputs; returns what it makes of them.

    Args:
        run: the segment, tensors in, tensors out.
        model: whose buffers it may not write.
        inputs: of one region, (1, ...) each.
        where: which segment it is, for messages.

    Raises:
        ExportError: it makes another output of equal inputs, or changes a buffer.
    """
    before = {name: (id(buffer), buffer._version) for name, buffer in model.named_buffers()}
    first, second = (
        leaves(run(*(tensor.clone() for tensor in inputs))) for _ in range(2)
    )  # it may write into them
    if not all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(first, second, strict=True)):
        raise ExportError(
            f"{where}: makes something else of the same inputs each time: is a functional dropout left on (give it "
            "training=self.training), noise drawn, or a call counted? What changes must be an input or a state"
        )
    for name, buffer in model.named_buffers():
        if before.get(name) != (id(buffer), buffer._version):
            raise ExportError(
                f"{where}: changes its buffer {name} when it runs, which engines cannot: make it a state of the flow "
                "(f.state, f.keep), or put a batch norm into eval mode"
            )
    return second
