"""The training interpreter: every variant is computed, straight-through masks choose.

Source: CAIN-SD, section 3.2 (straight-through Gumbel-softmax, Eq. 6-7) and Eq. 8-10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

import torch
import torch.nn.functional as F

from edgeflow.flow.eager import tile_multiple
from edgeflow.flow.flow import NOTHING, ONE_SHAPE, Flow, Selector, flatten, leaves, rebuild
from edgeflow.flow.module import RoutedModule
from edgeflow.flow.opaque import Opaque
from edgeflow.flow.tensors import cut_tile, pool_map
from edgeflow.ir.errors import FlowError
from edgeflow.ir.program import FRAME
from edgeflow.ir.route import MOST_ASSIGNMENTS, Assignment, Choice, Condition, Variable, assignment, too_many
from edgeflow.ir.rules import HostRule, ScoreRule, StreamContext
from edgeflow.ir.sampling import evenly
from edgeflow.ir.tiles import TileGrid


@dataclass(frozen=True)
class TrainValue(Opaque):
    """Per variant one tensor (regions, ...); regions of the whole batch lie side by side."""

    regions: str
    variants: dict[Assignment, torch.Tensor]
    state: str = ""

    @property
    def shape(self) -> torch.Size:
        """Shape of the first variant's tensor."""
        return next(iter(self.variants.values())).shape

    @property
    def tensor(self) -> torch.Tensor:
        """Its one tensor.

        Raises:
            FlowError: its variants have unlike shapes, so there is no single one.
        """
        if len(self.variants) != 1:
            raise FlowError(f"a value of {len(self.variants)} unlike shapes is used where one is needed")
        return next(iter(self.variants.values()))


@dataclass(frozen=True)
class TilesTaken:
    """Which tiles a training step looks at: tile `numbers[i]` of batch entry `frames[i]`."""

    grid: TileGrid
    frames: list[int]
    numbers: list[int]

    def cut(self, batch: torch.Tensor) -> torch.Tensor:
        """The same tiles of another batch of frames (n, c, h, w) -> (tiles, c, size, size); (n, c) -> (tiles, c)."""
        if batch.ndim == 2:
            return batch[self.frames]
        pairs = zip(self.frames, self.numbers, strict=True)
        return torch.cat([cut_tile(batch[f : f + 1], self.grid, n) for f, n in pairs])


@dataclass(frozen=True)
class TrainResult:
    """Differentiable outputs, masks per variable (regions, values), tiles and kept states."""

    outputs: tuple[torch.Tensor, ...]
    masks: dict[str, torch.Tensor]
    tiles: dict[str, TilesTaken]
    kept: dict[str, torch.Tensor] = field(default_factory=dict)


class Training:
    """Runs a model's flow differentiably on a batch of frames.

    Args:
        model: the routed module.
        tiles_per_frame: tiles drawn at random from each frame; all of them if None. The output
            of `stitch` is then the tiles themselves, (batch * tiles, c, size, size).
        temperature: of the Gumbel-softmax; CAIN-SD uses 1.
        noise: draw Gumbel noise; without it the masks are the argmax, as at test time.
        fixed: values that replace decisions, by axis name.
    """

    def __init__(
        self,
        model: RoutedModule,
        *,
        tiles_per_frame: int | None = None,
        temperature: float = 1.0,
        noise: bool = True,
        fixed: Mapping[str, Choice] | None = None,
    ) -> None:
        self._model = model
        self._tiles_per_frame = tiles_per_frame
        self._temperature = temperature
        self._noise = noise
        self._fixed = dict(fixed or {})

    def __call__(
        self,
        *inputs: torch.Tensor,
        context: StreamContext | None = None,
        states: Mapping[str, torch.Tensor] | None = None,
    ) -> TrainResult:
        """Run a batch: each input (batch, ...) float32."""
        frame = _TrainFlow(
            self._model,
            self._tiles_per_frame,
            self._temperature,
            self._noise,
            self._fixed,
            context or StreamContext(),
            dict(states or {}),
            inputs[0].shape[0],
        )
        result = self._model.flow(frame, *(TrainValue(FRAME, {(): tensor}) for tensor in inputs))
        outputs = tuple(value.tensor for value in flatten(leaves(result)))
        return TrainResult(outputs, frame.masks, frame.taken, frame.kept)


class _TrainFlow(Flow):
    def __init__(
        self,
        model: RoutedModule,
        tiles_per_frame: int | None,
        temperature: float,
        noise: bool,
        fixed: Mapping[str, Choice],
        context: StreamContext,
        states: dict[str, torch.Tensor],
        batch: int,
    ) -> None:
        super().__init__(model)
        self._tiles_per_frame = tiles_per_frame
        self._temperature, self._noise, self._fixed = temperature, noise, fixed
        self._context, self._states, self._batch = context, states, batch
        self.masks: dict[str, torch.Tensor] = {}
        self.taken: dict[str, TilesTaken] = {}
        self.kept: dict[str, torch.Tensor] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}

    def tile(self, *frames: TrainValue, size: int, halo: int, multiple: int | None = None) -> Any:
        tensors = [frame.tensor for frame in frames]
        height, width = tensors[0].shape[-2:]
        regions = f"tiles.{len(self.taken)}" if self.taken else "tiles"
        multiple = tile_multiple(self.model, regions, (height, width)) if multiple is None else multiple
        grid = TileGrid(height, width, size, halo, multiple)
        count = min(self._tiles_per_frame or len(grid), len(grid))
        chosen = [torch.randperm(len(grid))[:count].tolist() for _ in range(self._batch)]
        if count == len(grid):
            chosen = [list(range(count))] * self._batch
        owners = [frame for frame in range(self._batch) for _ in range(count)]
        taken = TilesTaken(grid, owners, [number for numbers in chosen for number in numbers])
        self.taken[regions] = taken
        cut = [TrainValue(regions, {(): taken.cut(tensor)}) for tensor in tensors]
        return cut[0] if len(cut) == 1 else tuple(cut)

    def _stitch(self, tiles: TrainValue, blend: bool) -> TrainValue:
        return tiles

    def _declare(self, state: str, shape: tuple[int, ...]) -> TrainValue:
        self._shapes[state] = shape
        return TrainValue(FRAME, {(): next(self.model.parameters()).new_zeros(self._batch, *shape)}, state)

    def _state_of(self, state: str, regions: str) -> TrainValue:
        if regions != FRAME and self._tiles_per_frame:
            raise FlowError(
                f"the state {state} belongs to tiles, and training draws other tiles for every frame: "
                "train on all of them (tiles_per_frame=None)"
            )
        count = self._batch if regions == FRAME else len(self.taken[regions].frames)
        kept = self._states.get(state)
        if kept is None:
            kept = next(self.model.parameters()).new_zeros(count, *self._shapes[state])
        return TrainValue(regions, {(): kept}, state)

    def _keep(self, state: str, value: TrainValue, condition: Condition) -> None:
        if not condition.variables:
            self.kept |= {state: value.tensor} if condition.op == "true" else {}
            return
        old = self.kept.get(state)
        before = self._state_of(state, value.regions).tensor if old is None else old
        mask = _spread(self._mask(condition, value.regions), value.tensor)
        self.kept[state] = mask * value.tensor + (1 - mask) * before

    def sample(self, clip: TrainValue, frames: Selector) -> TrainValue:
        variable = frames.variable
        return TrainValue(
            clip.regions,
            {
                ((variable.name, value),): clip.tensor[:, evenly(clip.tensor.shape[1], int(value))]
                for value in variable.axis.values
            },
        )

    def _call(
        self,
        segment: Any,
        inputs: tuple[TrainValue, ...],
        when: Condition,
        otherwise: Any,
        axes: dict[str, Variable],
        constants: dict[str, Any],
    ) -> Any:
        regions = inputs[0].regions
        by_variant: list[tuple[dict[str, Choice], tuple[torch.Tensor, ...]]] = []
        like: Any = None
        for values in self._variants(self._name(segment), inputs, axes):
            tensors = [_at(value, values) for value in inputs]
            chosen = {k: values[v.name] for k, v in axes.items()}
            like = segment(*tensors, **chosen, **constants)
            by_variant.append((values, leaves(like)))
        outputs = [
            TrainValue(regions, {assignment(values): made[i] for values, made in by_variant})
            for i in range(len(by_variant[0][1]))
        ]
        if when.variables or when.op == "false":
            sides = leaves(otherwise) if otherwise is not None else (None,) * len(outputs)
            outputs = [
                self._either(when, value, side, self._name(segment))
                for value, side in zip(outputs, sides, strict=True)
            ]
        return rebuild(like, [self._merge(value) for value in outputs])

    def _variants(
        self, segment: str, inputs: Sequence[TrainValue], axes: Mapping[str, Variable]
    ) -> list[dict[str, Choice]]:
        domains: dict[str, list[Choice]] = {}
        for value in inputs:
            for variant in value.variants:
                for name, choice in variant:
                    found = domains.setdefault(name, [])
                    if choice not in found:
                        found.append(choice)
        for variable in axes.values():
            fixed = self._fixed.get(variable.axis_name)
            domains[variable.name] = list(variable.axis.values) if fixed is None else [fixed]
        if prod(map(len, domains.values())) > MOST_ASSIGNMENTS:
            raise FlowError(too_many(segment, [v for v in self.variables if v.name in domains]))
        return [dict(zip(domains, choice, strict=True)) for choice in product(*domains.values())]

    def _either(
        self, when: Condition, value: TrainValue, other: TrainValue | None, segment: str
    ) -> TrainValue:
        mask = self._mask(when, value.regions)
        mixed: dict[Assignment, torch.Tensor] = {}
        for variant, tensor in value.variants.items():
            own = _spread(mask, tensor)
            if other is None or other is NOTHING:
                mixed[variant] = own * tensor
                continue
            kept = _at(other, dict(variant))
            if kept.shape != tensor.shape:
                raise FlowError(
                    f"segment {segment} makes {tuple(tensor.shape)} where it runs, but "
                    f"{tuple(kept.shape)} is kept elsewhere: {ONE_SHAPE}"
                )
            mixed[variant] = own * tensor + (1 - own) * kept
        return TrainValue(value.regions, mixed)

    def _merge(self, value: TrainValue) -> TrainValue:
        """Sum variants whose shapes agree, weighted by their masks (CAIN-SD, Eq. 10)."""
        variants = value.variants
        for name in [name for name, _ in next(iter(variants))]:
            groups: dict[Assignment, list[tuple[Choice, torch.Tensor]]] = {}
            for variant, tensor in variants.items():
                rest = tuple(pair for pair in variant if pair[0] != name)
                groups.setdefault(rest, []).append((dict(variant)[name], tensor))
            if any(len({t.shape for _, t in group}) > 1 for group in groups.values()):
                continue
            variants = {rest: self._weigh(name, group, value.regions) for rest, group in groups.items()}
        return TrainValue(value.regions, variants)

    def _weigh(self, name: str, group: list[tuple[Choice, torch.Tensor]], regions: str) -> torch.Tensor:
        parts = []
        for choice, tensor in group:
            mask = self._mask(Condition("in", variable=name, values=(choice,)), regions)
            parts.append(_spread(mask, tensor) * tensor)
        return torch.stack(parts).sum(0)

    def _route(
        self, regions: TrainValue, variable: Variable, rule: ScoreRule, scores: TrainValue, pool: str
    ) -> None:
        count = regions.shape[0]
        if variable.axis_name in self._fixed:
            index = variable.axis.index(self._fixed[variable.axis_name])
            self.masks[variable.name] = self._one_hot(torch.full((count,), index), variable)
            return
        logits = scores.tensor
        if scores.regions == FRAME and regions.regions != FRAME:
            taken = self.taken[regions.regions]
            logits = pool_map(logits, taken.grid, pool)[taken.frames, taken.numbers]
        self.masks[variable.name] = self._sample_mask(logits, rule, variable)

    def _sample_mask(self, logits: torch.Tensor, rule: ScoreRule, variable: Variable) -> torch.Tensor:
        if rule.gradient != "gumbel":
            index = rule.decide(logits.detach().flatten(1).cpu().numpy(), variable.axis)
            hard = F.one_hot(torch.as_tensor(index), len(variable.axis.values)).to(logits)
            return hard + logits - logits.detach() if rule.gradient == "straight-through" else hard
        if self._noise:
            return F.gumbel_softmax(logits, tau=self._temperature, hard=True, dim=1)
        soft = (logits / self._temperature).softmax(1)
        hard = F.one_hot(logits.argmax(1), logits.shape[1]).to(soft)
        return hard + soft - soft.detach()

    def _decide(self, variable: Variable, rule: HostRule, measured: TrainValue | None) -> None:
        fixed = self._fixed.get(variable.axis_name)
        if fixed is not None:
            index = torch.full((self._batch,), variable.axis.index(fixed))
        else:
            numbers = [None] * self._batch if measured is None else measured.tensor.flatten().tolist()
            index = torch.tensor([rule.choose(self._context, variable, number) for number in numbers])
        self.masks[variable.name] = self._one_hot(index, variable)

    def _one_hot(self, index: torch.Tensor, variable: Variable) -> torch.Tensor:
        parameter = next(self.model.parameters())
        return F.one_hot(index, len(variable.axis.values)).to(parameter)

    def _mask(self, condition: Condition, regions: str) -> torch.Tensor:
        taken = self.taken.get(regions)
        count = len(taken.frames) if taken else self._batch
        return condition_mask(condition, self.masks, self._axes(), count, taken.frames if taken else None)

    def _axes(self) -> dict[str, Variable]:
        return {variable.name: variable for variable in self.variables}


def condition_mask(
    condition: Condition,
    masks: Mapping[str, torch.Tensor],
    variables: Mapping[str, Variable],
    count: int,
    owners: list[int] | None = None,
) -> torch.Tensor:
    """Truth of a condition as a differentiable product of masks: (count,).

    Args:
        condition: over the variables that `masks` holds.
        masks: per variable (regions, values), each row one-hot in the forward pass.
        variables: by name.
        count: regions of the value that the condition guards.
        owners: batch entry of each region, for masks decided per frame.
    """
    if condition.op == "in":
        mask = masks[condition.variable]
        axis = variables[condition.variable].axis
        truth = mask[:, [axis.index(value) for value in condition.values]].sum(1)
        return truth if owners is None or len(truth) == count else truth[owners]
    terms = [condition_mask(term, masks, variables, count, owners) for term in condition.terms]
    if condition.op == "not":
        return 1 - terms[0]
    if condition.op == "and":
        return terms[0] * terms[1]
    if condition.op == "or":
        return 1 - (1 - terms[0]) * (1 - terms[1])
    like = next(iter(masks.values()))
    return like.new_full((count,), float(condition.op == "true"))


def _at(value: TrainValue, values: Mapping[str, Choice]) -> torch.Tensor:
    """The tensor of the variant in which the variables have these values."""
    for variant, tensor in value.variants.items():
        if all(values[name] == choice for name, choice in variant):
            return tensor
    raise FlowError(f"a value has no variant for {dict(values)}: it has {list(value.variants)}")


def _spread(mask: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return mask.reshape(-1, *[1] * (like.ndim - 1))
