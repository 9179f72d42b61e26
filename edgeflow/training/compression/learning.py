"""The two phases of learning: weights that become zero, and a small network that learns from the large one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeflow.ir.errors import TrainError
from edgeflow.training.compression.obprox import OBProxSG
from edgeflow.training.losses import charbonnier, laplacian

Batch: TypeAlias = tuple[tuple[Tensor, ...], Tensor]
"""What a network is given, and what it should make of it: a tensor like its output, or the numbers of classes."""
PROXIMAL = 0.1
"""Share of the steps that are proximal; orthant steps follow. The published schedule's: 2 of 20 epochs."""
ALPHA = 0.1
"""Weight of the truth beside the teacher, Eq. 4."""
HELD = 1 / 3
"""Share of the steps of distillation, the last ones, in which norms keep their statistics: those of a few crops are not what it is judged by."""
NORM = 5.0
"""To which gradients are clipped."""


@dataclass(frozen=True)
class Pace:
    """How a phase learns.

    Attributes:
        steps: of it.
        rate: of learning.
        report: told the number of each step and its loss.
    """

    steps: int
    rate: float
    report: Callable[[int, float], None] = lambda step, loss: None


def sparsify(
    module: nn.Module,
    batches: Iterator[Batch],
    pace: Pace,
    sparsity: float,
    keep: Iterable[nn.Parameter] = (),
) -> None:
    """Train on with an l1 norm on the weights, until many are exactly zero.

    Args:
        module: the network; its weights change.
        batches: to learn from.
        pace: of learning.
        sparsity: weight of the norm, lambda.
        keep: parameters that the norm leaves out.

    Raises:
        TrainError: a loss is not finite, or its output does not fit the batch's target.

    Source: ST-MFNet Mini, Eq. 1 and 2; the norm is the optimiser's, as OBProx-SG has it.
    """
    learning = [p for p in module.parameters() if p.requires_grad]
    optimiser = OBProxSG(learning, pace.rate, sparsity, keep=keep)
    module.train()
    for step in range(pace.steps):
        optimiser.orthant = step >= PROXIMAL * pace.steps
        inputs, target = next(batches)
        _learn(module, optimiser, truth(module(*inputs), target), step, pace)


def distil(student: nn.Module, teacher: nn.Module | None, batches: Iterator[Batch], pace: Pace) -> None:
    """Train a small network by what a large one makes and, less, by the truth.

    Args:
        student: the small network; its weights change.
        teacher: the large one; None to learn from the truth alone.
        batches: to learn from.
        pace: of learning.

    Raises:
        TrainError: a loss is not finite, or an output does not fit the batch's target.

    Source: ST-MFNet Mini, Eq. 4. The optimiser is Adamax, as published; the teacher's norms do not drift, which they did there.
    """
    optimiser = torch.optim.Adamax([p for p in student.parameters() if p.requires_grad], lr=pace.rate)
    if teacher is not None:
        teacher.eval()
    for step in range(pace.steps):
        student.train(step < (1 - HELD) * pace.steps)
        inputs, target = next(batches)
        made = student(*inputs)
        loss = likeness(made, target)
        if teacher is not None:
            with torch.no_grad():
                shown = teacher(*inputs)
            loss = ALPHA * loss + likeness(made, shown)
        _learn(student, optimiser, loss, step, pace)


def _learn(module: nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor, step: int, pace: Pace) -> None:
    if not loss.isfinite():
        raise TrainError(f"the loss is {float(loss.detach())} at step {step}: give a lower rate")
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(module.parameters(), NORM)
    optimiser.step()
    pace.report(step, float(loss.detach()))


def truth(made: Tensor, target: Tensor) -> Tensor:
    """The loss of the sparse phase: Charbonnier, or cross-entropy where the target is classes.

    Raises:
        TrainError: shapes that do not fit.
    """
    _check(made, target)
    return F.cross_entropy(made, target) if _classes(target) else charbonnier(made, target)


def likeness(made: Tensor, wanted: Tensor) -> Tensor:
    """Both losses of Eq. 4: of pictures the Laplacian pyramid's, of class scores how they are shared out, else Charbonnier.

    Args:
        made: by the network.
        wanted: the truth, or what a teacher made.

    Raises:
        TrainError: shapes that do not fit.
    """
    _check(made, wanted)
    if _classes(wanted):
        return F.cross_entropy(made, wanted)
    if made.dim() == 4:
        return laplacian(made, wanted)
    if made.dim() == 2:
        return F.kl_div(made.log_softmax(1), wanted.log_softmax(1), reduction="batchmean", log_target=True)
    return charbonnier(made, wanted)


def _classes(target: Tensor) -> bool:
    return not target.is_floating_point()


def _check(made: Tensor, target: Tensor) -> None:
    wanted = made.shape[:1] + made.shape[2:] if _classes(target) else made.shape
    if target.shape != wanted:
        raise TrainError(
            f"the network makes {tuple(made.shape)} and the batch's target is {tuple(target.shape)}: let batches give what it makes"
        )
