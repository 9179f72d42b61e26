"""The eager interpreter: runs the flow on real tensors. Every check compares with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeflow.flow.flow import NOTHING, ONE_SHAPE, Flow, Selector, flatten, leaves, rebuild
from edgeflow.flow.grids import found_grids
from edgeflow.flow.opaque import Opaque
from edgeflow.flow.tensors import blend_tiles, cut_tile, paste_tile
from edgeflow.ir.errors import FlowError
from edgeflow.ir.program import FRAME
from edgeflow.ir.route import Choice, Condition, Variable
from edgeflow.ir.rules import HostRule, Rule, ScoreRule, StreamContext
from edgeflow.ir.sampling import evenly
from edgeflow.ir.tiles import TileGrid, pool_map

if TYPE_CHECKING:
    from edgeflow.flow.module import RoutedModule


@dataclass(frozen=True)
class EagerValue(Opaque):
    """One tensor (1, ...) per region; None where no call made one. A state has its name, and its regions once it is used."""

    regions: str
    tensors: list[torch.Tensor | None]
    state: str = ""

    @property
    def shape(self) -> torch.Size:
        """Shape of the first region's tensor, with its batch dimension."""
        return self.known()[0].shape

    def known(self) -> list[torch.Tensor]:
        """Its tensors.

        Raises:
            FlowError: a region has none.
        """
        present = [t for t in self.tensors if t is not None]
        if len(present) != len(self.tensors):
            raise FlowError("a value is read where no call made it: give the call an otherwise=")
        return present


@dataclass(frozen=True)
class EagerResult:
    """Outputs (1, ...) float32, the routes taken and the grids tiled."""

    outputs: tuple[torch.Tensor, ...]
    routes: dict[str, list[Choice]]
    grids: dict[str, TileGrid] = field(default_factory=dict)


class Eager:
    """Runs a model's flow frame after frame, keeping its states.

    Args:
        model: the routed module; not put into eval mode here.
        fixed: values that replace the model's own decisions, by variable or axis name.
        interpreter: a subclass that watches the run.
        rules: that replace the model's own, by axis name: rules per frame for rules per frame, rules of scores for such.

    Attributes:
        states: what the next frame will read, by name; empty after a reset.
    """

    def __init__(
        self,
        model: RoutedModule,
        fixed: Mapping[str, Choice] | None = None,
        interpreter: type[EagerFlow] | None = None,
        rules: Mapping[str, Rule] | None = None,
    ) -> None:
        self._model = model
        self._interpreter = interpreter or EagerFlow
        self._fixed, self._rules = dict(fixed or {}), dict(rules or {})
        for name in (*self._fixed, *self._rules):
            if name.split(".")[0] not in model.axes:
                raise FlowError(f"no axis {name!r} to fix: {type(model).__name__} has {sorted(model.axes)}")
        for name, value in self._fixed.items():
            model.axes[name.split(".")[0]].index(value)
        self.last: EagerFlow | None = None
        self.reset()

    def reset(self) -> None:
        """Forget all states, as at the start of a stream."""
        self._shapes: tuple[torch.Size, ...] = ()
        self._context = StreamContext()
        self.states: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def __call__(self, *inputs: torch.Tensor) -> EagerResult:
        """Run one frame; each input (1, ...) float32. Inputs of other shapes begin a new stream.

        Raises:
            FlowError: the flow joins what does not fit, or an input's shape is wrong.
        """
        specs = self._model.inputs
        if len(inputs) != len(specs):
            raise FlowError(f"{type(self._model).__name__} takes {len(specs)} inputs, got {len(inputs)}")
        for spec, tensor in zip(specs, inputs, strict=True):
            free = [isinstance(d, str) or d == s for d, s in zip(spec.shape, tensor.shape[1:], strict=False)]
            if tensor.ndim != len(spec.shape) + 1 or not all(free):
                raise FlowError(f"input {spec.name} is (1, {spec.shape}), got {tuple(tensor.shape)}")
        shapes = tuple(tensor.shape for tensor in inputs)
        if self._shapes and shapes != self._shapes:
            self.reset()
        self._shapes = shapes
        frame = self._interpreter(self._model, self._fixed, self._context, self.states, self._rules)
        result = self._model.flow(frame, *(EagerValue(FRAME, [tensor]) for tensor in inputs))
        outputs = tuple(value.known()[0] for value in flatten(leaves(result)))
        self.states = {**self.states, **frame.kept}
        self._context.advance(frame.chosen)
        routes = {
            variable.name: [variable.axis.values[i] for i in frame.chosen[variable.name]]
            for variable in frame.variables
        }
        self.last = frame
        return EagerResult(outputs, routes, frame.grids)


def _cut(frame: torch.Tensor | None, grid: TileGrid) -> list[torch.Tensor | None]:
    """A frame's tiles; none of a frame that no call made, and what has no height and width as it is."""
    if frame is None or frame.ndim == 2:
        return [frame] * len(grid)
    return [cut_tile(frame, grid, number) for number in range(len(grid))]


def tile_multiple(model: RoutedModule, regions: str, size: tuple[int, int]) -> int:
    """Where tiles may begin if the flow does not say: what tracing the model finds.

    What cannot be traced is refused when it is exported, with a reason: here it may begin anywhere.
    """
    try:
        return found_grids(model, {"height": size[0], "width": size[1]}).get(regions, 1)
    except FlowError:
        return 1


class EagerFlow(Flow):
    """One frame's run. Call groups of regions that share route and shapes run as one batch."""

    def __init__(
        self,
        model: RoutedModule,
        fixed: Mapping[str, Choice],
        context: StreamContext,
        states: dict[str, torch.Tensor],
        rules: Mapping[str, Rule],
    ) -> None:
        super().__init__(model)
        self._fixed, self._context, self._states, self._rules = fixed, context, states, rules
        self.kept: dict[str, torch.Tensor] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._read: dict[str, EagerValue] = {}
        self.chosen: dict[str, NDArray[np.intp]] = {}
        self.grids: dict[str, TileGrid] = {}

    def tile(self, *frames: EagerValue, size: int, halo: int, multiple: int | None = None) -> Any:
        tensors = [frame.tensors[0] for frame in frames]
        shapes = [tuple(tensor.shape) for tensor in tensors if tensor is not None]
        if len({shape[-2:] for shape in shapes if len(shape) != 2}) != 1:
            raise FlowError(f"frames tiled together have one size, got {shapes}")
        height, width = shapes[0][-2:]
        regions = f"tiles.{len(self.grids)}" if self.grids else "tiles"
        multiple = tile_multiple(self.model, regions, (height, width)) if multiple is None else multiple
        grid = TileGrid(height, width, size, halo, multiple)
        self.grids[regions] = grid
        cut = [EagerValue(regions, _cut(tensor, grid)) for tensor in tensors]
        return cut[0] if len(cut) == 1 else tuple(cut)

    def _stitch(self, tiles: EagerValue, blend: bool) -> EagerValue:
        grid = self.grids[tiles.regions]
        if any(tensor is None for tensor in tiles.tensors):
            return EagerValue(FRAME, [None])  # to be read only where something made all of it
        known = tiles.known()
        height, width = known[0].shape[-2:]
        if height != width or height % grid.size:
            raise FlowError(
                f"stitch takes pictures of {grid.size} pixels a side, or of a multiple of that, got {tuple(known[0].shape)}"
            )
        scale = height // grid.size
        if blend:
            return EagerValue(FRAME, [blend_tiles(known, grid)])
        frame = known[0].new_empty(1, known[0].shape[1], scale * grid.height, scale * grid.width)
        for number, tile in enumerate(known):
            paste_tile(tile[0], grid, number, frame[0])
        return EagerValue(FRAME, [frame])

    def _declare(self, state: str, shape: tuple[int, ...]) -> EagerValue:
        self._shapes[state] = shape
        return EagerValue(FRAME, [next(self.model.parameters(), torch.zeros(0)).new_zeros(1, *shape)], state)

    def _state_of(self, state: str, regions: str) -> EagerValue:
        if state not in self._read:
            count = 1 if regions == FRAME else len(self.grids[regions])
            kept = self._states.get(state)
            if kept is None:
                kept = next(self.model.parameters(), torch.zeros(0)).new_zeros(count, *self._shapes[state])
            self._read[state] = EagerValue(regions, list(torch.split(kept, 1)), state)
        return self._read[state]

    def _keep(self, state: str, value: EagerValue, condition: Condition) -> None:
        if state not in self._shapes:
            raise FlowError(f"keep: the flow has no state {state!r}; it has {sorted(self._shapes)}")
        old = self.kept.get(state)
        before = self._state_of(state, value.regions).tensors if old is None else list(torch.split(old, 1))
        mask = self._mask(condition, value.regions, len(before))
        if mask.any():
            after = [
                new if taken else kept for kept, new, taken in zip(before, value.tensors, mask, strict=True)
            ]
            self.kept[state] = torch.cat(EagerValue(value.regions, after).known())

    def sample(self, clip: EagerValue, frames: Selector) -> EagerValue:
        (tensor,) = clip.known()
        count = int(frames.variable.axis.values[self.chosen[frames.variable.name][0]])
        return EagerValue(clip.regions, [tensor[:, evenly(tensor.shape[1], count)]])

    def _call(
        self,
        segment: Any,
        inputs: tuple[EagerValue, ...],
        when: Condition,
        otherwise: Any,
        axes: dict[str, Variable],
        constants: dict[str, Any],
    ) -> Any:
        regions = inputs[0].regions
        count = len(inputs[0].tensors)
        if any(value.regions != regions for value in inputs):
            raise FlowError(f"segment {self._name(segment)} mixes values of {[v.regions for v in inputs]}")
        mask = self._mask(when, regions, count)
        groups: dict[Any, list[int]] = {}
        for i in range(count):
            if mask[i]:
                choices = tuple((k, v.axis.values[self._chosen_at(v, i)]) for k, v in axes.items())
                shapes = tuple(value.known()[i].shape for value in inputs)
                groups.setdefault((choices, shapes), []).append(i)
        like: Any = otherwise
        sides = () if otherwise is None or otherwise is NOTHING else leaves(otherwise)
        there = any(tensor is not None for side in sides for tensor in side.tensors)
        old = [side.tensors for side in sides] if there else []
        outputs: list[list[torch.Tensor | None]] = [list(tensors) for tensors in old]
        for (choices, _), members in groups.items():
            batch = [torch.cat([value.known()[i] for i in members]) for value in inputs]
            like = segment(*batch, **dict(choices), **constants)
            made = leaves(like)
            outputs = outputs or [[None] * count for _ in made]
            for slot, tensor in zip(outputs, made, strict=True):
                for i, part in zip(members, tensor.split(1), strict=True):
                    before = slot[i]
                    if when.variables and before is not None and before.shape != part.shape:
                        raise FlowError(
                            f"segment {self._name(segment)} makes {tuple(part.shape)} where it runs, but "
                            f"{tuple(before.shape)} is kept elsewhere: {ONE_SHAPE}"
                        )
                    slot[i] = part
        if not outputs:  # it ran nowhere and nothing stands in for it: how many outputs it has is not known
            return EagerValue(regions, [None] * count)
        return rebuild(like, [EagerValue(regions, tensors) for tensors in outputs])

    def _route(
        self, regions: EagerValue, variable: Variable, rule: ScoreRule, scores: EagerValue, pool: str
    ) -> None:
        count = len(regions.tensors)
        if (fixed := self._override(variable)) is not None:
            self.chosen[variable.name] = np.full(count, fixed)
        elif scores.regions == FRAME and regions.regions != FRAME:
            pooled = pool_map(scores.known()[0][0].numpy(), self.grids[regions.regions], pool)
            self.chosen[variable.name] = self._decided(variable, rule, pooled)
        else:
            flat = torch.cat(scores.known()).flatten(1).numpy()
            self.chosen[variable.name] = self._decided(variable, rule, flat)

    def _decided(self, variable: Variable, own: ScoreRule, scores: NDArray[np.float32]) -> NDArray[np.intp]:
        rule = self._rules.get(variable.name, self._rules.get(variable.axis_name, own))
        assert isinstance(rule, ScoreRule)
        return rule.decide(scores, variable.axis, self._context.taken.get(variable.name))

    def _decide(self, variable: Variable, rule: HostRule, measured: EagerValue | None) -> None:
        chosen = self._override(variable)
        if chosen is None:
            other = self._rules.get(variable.name, self._rules.get(variable.axis_name, rule))
            assert isinstance(other, HostRule)
            number = None if measured is None else float(measured.known()[0])
            chosen = other.choose(self._context, variable, number)
        self.chosen[variable.name] = np.array([chosen])

    def _override(self, variable: Variable) -> int | None:
        for name in (variable.name, variable.axis_name):
            if name in self._fixed:
                return variable.axis.index(self._fixed[name])
        return None

    def _chosen_at(self, variable: Variable, region: int) -> int:
        chosen = self.chosen[variable.name]
        return int(chosen[region if len(chosen) > 1 else 0])

    def _mask(self, condition: Condition, regions: str, count: int) -> NDArray[np.bool_]:
        axes = {variable.name: variable.axis for variable in self.variables}
        return np.broadcast_to(condition.mask(self.chosen, axes, count), (count,))
