"""Segments whose regions influence one another: tiles run in batches of any number and order, so none may.

A reshape that counts regions, `x[0]`, a statistic or a softmax over the batch, a roll: found by changing what lies beside a
region. The same kernels run on the same shapes, so a region that nothing leaks into comes out the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from edgeflow.flow.flow import leaves
from edgeflow.ir.errors import ExportError


@torch.no_grad()
def check_apart(run: Callable[..., Any], inputs: Sequence[torch.Tensor], where: str) -> None:
    """Refuse a segment that makes something else of a region when its neighbours in the batch change.

    Args:
        run: the segment, tensors in, tensors out.
        inputs: of one region, (1, ...) each.
        where: which segment it is, for messages.

    Raises:
        ExportError: it mixes regions, or cannot run three at a time.
    """
    random = torch.Generator().manual_seed(3)
    first, second = (_run_between(run, inputs, random, where) for _ in range(2))
    if not all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(first, second, strict=True)):
        raise ExportError(
            f"{where}: what it makes of a tile changes with the other tiles of the batch: keep the first dimension apart "
            "(no view(1, ...), x[0], mean, softmax or roll over it)"
        )


def _run_between(
    run: Callable[..., Any], inputs: Sequence[torch.Tensor], random: torch.Generator, where: str
) -> list[torch.Tensor]:
    """What is made of the region between two others that are drawn at random."""
    batches = []
    for tensor in inputs:
        beside = torch.rand((2, *tensor.shape[1:]), generator=random) * tensor.abs().max().clamp(min=1e-3)
        batches.append(torch.cat([beside[:1].to(tensor), tensor, beside[1:].to(tensor)]))
    try:
        made = leaves(run(*batches))
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ExportError(
            f"{where}: runs on one tile, not on three at a time ({reason}): keep the first dimension free"
        ) from error
    if wrong := [tuple(tensor.shape) for tensor in made if len(tensor) != 3]:
        raise ExportError(f"{where}: makes {wrong[0]} of three tiles: the first dimension counts them")
    return [tensor[1] for tensor in made]
