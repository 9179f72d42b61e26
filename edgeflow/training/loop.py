"""Runs a curriculum: stage after stage, with checkpoints from which a later run goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgeflow.ir.errors import TrainError
from edgeflow.training.checkpoint import Position, RunLog, load_checkpoint, save_checkpoint

CHECKPOINT = "checkpoint.safetensors"
SAVE_SECONDS = 60.0
LOG_SECONDS = 10.0
SLOWER = 0.1
SKIP_ABOVE = 10.0
"""A step whose loss is this many times the stage's first is skipped, as CAIN's are."""
WARM_UP, LEAST_RATE = 0.02, 0.02
"""The learning rate rises over this share of a stage and falls along a cosine to this share of itself."""


@dataclass(frozen=True)
class Loss:
    """What a step minimises, a scalar, and parts of it for the log."""

    total: torch.Tensor
    parts: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Stage:
    """One step of a curriculum.

    Attributes:
        name: of the stage.
        share: of the whole run's length, relative to the other stages.
        rate: highest learning rate of Adam.
        trained: modules whose parameters learn.
        loss: draws samples and computes what to minimise.
        betas: of Adam.
        gradient_norm: to which gradients are clipped; CAIN's by default.
        slower: of the trained modules or in them, those that learn at a tenth of the rate, as they know much already.
    """

    name: str
    share: float
    rate: float
    trained: tuple[nn.Module, ...]
    loss: Callable[[], Loss]
    betas: tuple[float, float] = (0.9, 0.99)
    gradient_norm: float = 0.1
    slower: tuple[nn.Module, ...] = ()


@dataclass(frozen=True)
class Length:
    """Length of a run, in steps or in minutes; the one not given is None."""

    steps: int | None = None
    minutes: float | None = None

    def done(self, position: Position, share: float) -> float:
        """How much of a stage is done, 0 to 1 and above; `share` is its share of the run."""
        if self.steps is not None:
            return position.step / max(round(self.steps * share), 1)
        return position.seconds / ((self.minutes or 0.0) * 60 * share)


@dataclass(frozen=True)
class Outcome:
    """Whether a run came to its end, and the steps it has done since its very start."""

    finished: bool
    steps: int


@dataclass(frozen=True)
class Run:
    """A training run.

    Attributes:
        model: what is trained.
        stages: its curriculum.
        length: of all stages together.
        folder: for checkpoint and log.
        rng: draws the samples.
        identity: what is trained, checked when a checkpoint is resumed.
    """

    model: nn.Module
    stages: tuple[Stage, ...]
    length: Length
    folder: Path
    rng: np.random.Generator
    identity: Mapping[str, str]

    def train(self, report: Callable[[Position, float, float], None], stop: Callable[[], bool]) -> Outcome:
        """Train from the start, or from the folder's checkpoint, to the end.

        Args:
            report: told after each step the position, the share of its stage done and the loss.
            stop: asked after each step; if true, a checkpoint is written and training ends.

        Raises:
            TrainError: the checkpoint cannot be used, or a loss is not finite.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        place = self.folder / CHECKPOINT
        saved = load_checkpoint(place, self.identity) if place.exists() else None
        position = saved.position if saved else Position(self.stages[0].name)
        if saved:
            saved.restore_model(self.model)
        for number in range(self._number(position.stage), len(self.stages)):
            stage = self.stages[number]
            optimiser = self._optimiser(stage)
            if saved:
                saved.restore_optimiser(self.model, optimiser)
                saved.restore_random(self.rng)
                saved = None
            else:
                position = Position(stage.name, total=position.total)
            position = self._stage(stage, optimiser, position, report, stop)
            if self._done(position, stage) < 1:
                return Outcome(False, position.total)
        return Outcome(True, position.total)

    def _stage(
        self,
        stage: Stage,
        optimiser: torch.optim.Adam,
        position: Position,
        report: Callable[[Position, float, float], None],
        stop: Callable[[], bool],
    ) -> Position:
        log = RunLog(self.folder / "log.jsonl")
        saved_at = logged_at = time.monotonic()
        recent: list[dict[str, float]] = []
        while self._done(position, stage) < 1:
            began = time.monotonic()
            loss = self._step(stage, optimiser, position)
            now = time.monotonic()
            position = replace(
                position,
                step=position.step + 1,
                total=position.total + 1,
                seconds=position.seconds + now - began,
                first_loss=position.first_loss or loss["loss"],
            )
            recent.append(loss)
            report(position, self._done(position, stage), loss["loss"])
            if now - logged_at > LOG_SECONDS:
                means = _means(recent)
                log.write(stage=stage.name, step=position.step, seconds=round(position.seconds, 1), **means)
                logged_at, recent = now, []
            if stop():
                break
            if now - saved_at > SAVE_SECONDS:
                self._save(optimiser, position)
                saved_at = now
        self._save(optimiser, position)
        return position

    def _step(self, stage: Stage, optimiser: torch.optim.Adam, position: Position) -> dict[str, float]:
        rate = stage.rate * _schedule(self._done(position, stage))
        for group in optimiser.param_groups:
            group["lr"] = rate * group["share"]
        loss = stage.loss()
        value = float(loss.total.detach())
        if not math.isfinite(value):
            raise TrainError(
                f"the loss is {value} at step {position.step} of stage {stage.name}: "
                f"run again to go on from {self.folder / CHECKPOINT}"
            )
        if position.first_loss is None or value <= SKIP_ABOVE * position.first_loss:
            optimiser.zero_grad()
            loss.total.backward()  # type: ignore[no-untyped-call]
            learning = [parameter for group in optimiser.param_groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(learning, stage.gradient_norm)
            optimiser.step()
        return {"loss": value, **{name: float(part.detach()) for name, part in loss.parts.items()}}

    def _optimiser(self, stage: Stage) -> torch.optim.Adam:
        trained = [parameter for module in stage.trained for parameter in module.parameters()]
        self.model.requires_grad_(False)
        for parameter in trained:
            parameter.requires_grad_(True)
        slow = {id(parameter) for module in stage.slower for parameter in module.parameters()}
        shares = {share: [p for p in trained if (id(p) in slow) == (share < 1)] for share in (1.0, SLOWER)}
        groups = [{"params": own, "share": share} for share, own in shares.items() if own]
        return torch.optim.Adam(groups, lr=stage.rate, betas=stage.betas)

    def _done(self, position: Position, stage: Stage) -> float:
        return self.length.done(position, stage.share / sum(each.share for each in self.stages))

    def _save(self, optimiser: torch.optim.Adam, position: Position) -> None:
        place = self.folder / CHECKPOINT
        save_checkpoint(place, self.model, optimiser, position, self.rng, self.identity)

    def _number(self, name: str) -> int:
        names = [stage.name for stage in self.stages]
        if name not in names:
            raise TrainError(
                f"the checkpoint in {self.folder} is at stage {name}, which this curriculum lacks: "
                "use another --run folder"
            )
        return names.index(name)


def _schedule(done: float) -> float:
    """Share of the highest learning rate, after a share of the stage."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return min(done / WARM_UP + 0.05, 1.0) * (LEAST_RATE + (1 - LEAST_RATE) * cosine)


def _means(losses: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each named value over the steps that have it."""
    names = dict.fromkeys(name for each in losses for name in each)
    return {name: float(np.mean([each[name] for each in losses if name in each])) for name in names}
