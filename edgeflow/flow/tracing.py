"""The tracing interpreter: runs the flow on shapes alone and records a `Program`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from edgeflow.flow.flow import NOTHING, ONE_SHAPE, Flow, Selector, flatten, leaves, rebuild
from edgeflow.flow.opaque import Opaque
from edgeflow.flow.pictures import check_images, mark_images, scaled
from edgeflow.flow.quiet import quiet
from edgeflow.flow.shrinkage import Sizes, TensorSizes
from edgeflow.flow.tasks import task_of
from edgeflow.flow.unchanged import unchanged
from edgeflow.ir.errors import FlowError
from edgeflow.ir.program import (
    FRAME,
    Call,
    Clip,
    Decision,
    Image,
    Interface,
    Keep,
    Operation,
    Program,
    Route,
    Sample,
    Shape,
    State,
    Stitch,
    Tensor,
    Tile,
    Value,
)
from edgeflow.ir.route import (
    MOST_ASSIGNMENTS,
    NEVER,
    Assignment,
    Choice,
    Condition,
    Variable,
    assignment,
    assignments,
    count_assignments,
    too_many,
)
from edgeflow.ir.rules import HostRule, Length, ScoreRule

if TYPE_CHECKING:
    from edgeflow.flow.module import RoutedModule


@dataclass(frozen=True)
class TraceValue(Opaque):
    """A symbolic value: what the program says of it."""

    value: Value
    state: str = ""

    @property
    def regions(self) -> str:
        """The regions that it has one tensor for each of."""
        return self.value.regions

    @property
    def shape(self) -> tuple[Any, ...]:
        """(1, ...); a dimension that is free at run time is a `Length`."""
        (_, shape), *_ = self.value.shapes
        return (1, *(d if isinstance(d, int) else Length(self.value.name) for d in shape))


class TraceFlow(Flow):
    """Records what the flow does; segments run on fake tensors, for their shapes.

    Args:
        model: whose flow it is.
        size: values for the free dimensions of its inputs.
        grids: where tiles may begin that the flow gives no `multiple` for, by region set; anywhere if not given.
        enlarged: cut tiles so many times as large as the flow says, to see what grows with them.

    Attributes:
        sizes: of the tensors that segments made on their way, by region set.
    """

    def __init__(
        self, model: RoutedModule, size: Mapping[str, int], grids: Mapping[str, int] = {}, enlarged: int = 1
    ) -> None:
        super().__init__(model)
        self._size, self._tile_grids, self._enlarged = size, grids, enlarged
        self.sizes: defaultdict[str, Sizes] = defaultdict(list)
        self._values: dict[str, Value] = {}
        self._operations: list[Operation] = []
        self._states: dict[str, State] = {}
        self._tilings: dict[str, Tile] = {}
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)

    def record(self, frame: str) -> Program:
        """Run the flow and return its program for one kind of frame; a fixed size goes into its interface."""
        fixed = "x" in frame
        inputs = [TraceValue(self._input(spec)) for spec in self.model.inputs]
        made = self.model.flow(self, *inputs)
        if made is None:
            raise FlowError(f"the flow of {type(self.model).__name__} returns nothing: return its outputs")
        results = [value.value for value in flatten(leaves(made))]
        outputs = self.model.outputs
        if len(results) != len(outputs):
            raise FlowError(
                f"{type(self.model).__name__} declares {len(outputs)} outputs, its flow returns {len(results)}"
            )
        for spec, value in zip(outputs, results, strict=True):
            if isinstance(spec, Clip):
                raise FlowError(
                    f"the output {spec.name} is declared a Clip, which is an input: declare a Tensor"
                )
            if value.regions != FRAME or len(value.shapes) != 1:
                raise FlowError(f"the output {spec.name} is not one tensor per frame: stitch tiles first")
            (_, shape), *_ = value.shapes
            if spec.image and (len(shape) != 3 or shape[0] != 3):
                raise FlowError(
                    f"the output {spec.name} is declared an Image, (3, height, width), but {value} is made: "
                    f'make three channels, or declare Tensor("{spec.name}", {shape})'
                )
            self._values[value.name] = replace(value, image=spec.image)
        bound = tuple(self._bind(spec) if fixed else spec for spec in self.model.inputs)
        out = tuple(
            _declared(spec, value) if fixed else spec for spec, value in zip(outputs, results, strict=True)
        )
        program = Program(
            name=type(self.model).__name__,
            frame=frame,
            inputs=bound,
            outputs=out,
            results=tuple(value.name for value in results),
            variables=tuple(self.variables),
            states=tuple(self._states.values()),
            values=tuple(self._values.values()),
            operations=tuple(self._operations),
            task=scaled(task_of(self.model), self.model.task is None, inputs[0].value, results, outputs),
        )
        program.verify()
        marked = mark_images(program)
        check_images(marked)
        return marked

    def tilings(self) -> Mapping[str, Tile]:
        """Run the flow and return how it tiles."""
        self.model.flow(self, *(TraceValue(self._input(spec)) for spec in self.model.inputs))
        return self._tilings

    def tile(self, *frames: TraceValue, size: int, halo: int, multiple: int | None = None) -> Any:
        regions = f"tiles.{len(self._tilings)}" if self._tilings else "tiles"
        sources = [frame.value for frame in frames]
        if len({s.shapes[0][1][-2:] for s in sources if len(s.shapes[0][1]) != 1}) != 1:
            raise FlowError(f"frames tiled together have one size, got {[str(s) for s in sources]}")
        for number, source in enumerate(sources):
            wanted = (3,) if number == 0 else (1, 3)
            if source.regions != FRAME or len(source.shapes) != 1 or len(source.shapes[0][1]) not in wanted:
                raise FlowError(
                    f"tile takes values (1, c, height, width) of the frame, after the first also (1, c), got {source}"
                )
        smaller = self._smaller(sources[0])
        sides = (size * self._enlarged,) * 2
        values = [
            self._make(
                f"{source.name}.{regions}", regions, {(): (channels, *(sides if rest else ()))}, source.image
            )
            for source in sources
            for (_, (channels, *rest)) in source.shapes
        ]
        names = tuple(source.name for source in sources)
        multiple = self._tile_grids.get(regions, 1) if multiple is None else multiple
        tiling = Tile(regions, names, tuple(v.name for v in values), size, halo, multiple, smaller)
        tiling.grid(smaller * size, smaller * size)  # refuses what cannot be tiled
        self._operations.append(tiling)
        self._tilings[regions] = tiling
        made = [TraceValue(value) for value in values]
        return made[0] if len(made) == 1 else tuple(made)

    def _smaller(self, source: Value) -> int:
        """How many times smaller a value is than the frame."""
        frame = next((spec for spec in self.model.inputs if spec.image), None)
        if frame is None or source.name in {spec.name for spec in self.model.inputs}:
            return 1
        (_, whole), *_ = self._values[frame.name].shapes
        (_, own), *_ = source.shapes
        down, across = (int(a) / int(b) for a, b in zip(whole[-2:], own[-2:], strict=True))
        if down != across or down != int(down):
            raise FlowError(
                f"tile takes values of the frame's size {whole[-1]}x{whole[-2]}, or smaller by a whole factor, got {source}"
            )
        return int(down)

    def _stitch(self, tiles: TraceValue, blend: bool) -> TraceValue:
        value = tiles.value
        tiling = self._tilings.get(value.regions)
        if tiling is None:
            raise FlowError(f"stitch takes tiles, got {value}")
        shape, side = dict(value.shapes).get((), ()), tiling.size * self._enlarged
        if len(shape) != 3 or shape[1] != shape[2] or int(shape[1]) % side:
            raise FlowError(
                f"stitch takes pictures of {tiling.size} pixels a side, or of a multiple of that, got {value}"
            )
        frame = self._values[tiling.inputs[0]].shapes[0][1]
        larger = tuple(int(d) * (int(shape[1]) // side) for d in frame[1:])
        made = self._make("stitched", FRAME, {(): (shape[0], *larger)})
        self._operations.append(Stitch(value.regions, value.name, made.name, blend))
        return TraceValue(made)

    def _declare(self, state: str, shape: tuple[int, ...]) -> TraceValue:
        value = self._make(f"state.{state}", FRAME, {(): shape})
        self._states[state] = State(value.name, shape)
        return TraceValue(value, state)

    def _state_of(self, state: str, regions: str) -> TraceValue:
        declared = self._states[state]
        if declared.regions != regions:
            shape = declared.shape
            if self._enlarged > 1 and len(shape) == 3:  # what belongs to tiles grows with them
                shape = (shape[0], *(side * self._enlarged for side in shape[1:]))
            self._states[state] = replace(declared, regions=regions, shape=shape)
            self._values[declared.name] = Value(declared.name, regions, (((), shape),))
        return TraceValue(self._values[declared.name], state)

    def _keep(self, state: str, value: TraceValue, condition: Condition) -> None:
        if state not in self._states:
            raise FlowError(f"keep: the flow has no state {state!r}; it has {sorted(self._states)}")
        self._state_of(state, value.value.regions)
        declared = self._states[state]
        if dict(value.value.shapes) != {(): declared.shape}:
            raise FlowError(f"keep: the state {state} is {declared.shape}, got {value.value}")
        self._operations.append(Keep(declared.name, value.value.name, condition))

    def sample(self, clip: TraceValue, frames: Selector) -> TraceValue:
        (_, shape), *_ = clip.value.shapes
        variable = frames.variable
        shapes: dict[Assignment, Shape] = {
            ((variable.name, count),): (int(count), *shape[1:]) for count in variable.axis.values
        }
        made = self._make(f"{clip.value.name}.sampled", clip.value.regions, shapes, clip.value.image)
        self._operations.append(Sample(clip.value.name, made.name, variable.name))
        return TraceValue(made)

    def _call(
        self,
        segment: Any,
        inputs: tuple[TraceValue, ...],
        when: Condition,
        otherwise: Any,
        axes: dict[str, Variable],
        constants: dict[str, Any],
    ) -> Any:
        name = self._name(segment)
        if when == NEVER:
            if otherwise is None:
                raise FlowError(f"segment {name} never runs and has no otherwise=: drop the call")
            return otherwise
        regions = inputs[0].value.regions
        if mixed := {value.value.regions for value in inputs} - {regions}:
            raise FlowError(
                f"segment {name} mixes values of {regions} and {sorted(mixed)}: use one region set"
            )
        shapes: list[dict[Assignment, Shape]] = []
        like: Any = None
        for values in self._variants(name, [v.value for v in inputs], axes):
            chosen = {k: values[v.name] for k, v in axes.items()}
            tensors = [self._tensor(v.value, values) for v in inputs]
            keywords = {**chosen, **constants}
            with TensorSizes() as on_the_way:
                like = self.run_segment(name, segment, tensors, keywords, assignment(values), when)
            made = leaves(like)
            if any(tensor.ndim >= 4 for tensor in made):  # a measure of a tile is no part of a picture
                self.sizes[regions] += on_the_way.found
            shapes = shapes or [{} for _ in made]
            for slot, tensor in zip(shapes, made, strict=True):
                slot[assignment(values)] = tuple(tensor.shape[1:])
        outputs = [
            self._make(f"{name}.{i}" if len(shapes) > 1 else name, regions, slot)
            for i, slot in enumerate(shapes)
        ]
        sides = self._sides(otherwise, outputs, name, bool(when.variables))
        self._operations.append(
            Call(
                segment=name,
                regions=regions,
                inputs=tuple(value.value.name for value in inputs),
                outputs=tuple(value.name for value in outputs),
                axes=tuple((k, v.name) for k, v in axes.items()),
                constants=tuple(constants.items()),
                when=when,
                otherwise=sides,
            )
        )
        return rebuild(like, [TraceValue(value) for value in outputs])

    def run_segment(
        self,
        name: str,
        segment: Any,
        tensors: list[torch.Tensor],
        keywords: dict[str, Any],
        variant: Assignment,
        when: Condition,
    ) -> Any:
        """Run one variant of a segment on fake tensors."""
        try:
            with self._fake, torch.no_grad(), quiet(), unchanged(self.model):
                return segment(*tensors, **keywords)
        except (DataDependentOutputException, GuardOnDataDependentSymNode) as error:
            raise FlowError(
                f"segment {name} branches on data ({str(error).splitlines()[0]}): a segment is static; "
                "make the branch a decision of the flow (f.route)"
            ) from error
        except DynamicOutputShapeException as error:
            raise FlowError(
                f"segment {name} makes a value whose shape follows its data ({error.func}): a segment is static; write it with a mask"
            ) from error
        except FlowError:
            raise
        except Exception as error:  # the author's own code: anything may come
            if "HigherOrderOperator" in str(error):
                raise FlowError(
                    f"segment {name} branches or loops by an operator (torch.cond, torch.while_loop): a segment is static; "
                    "make the branch a decision of the flow (f.route)"
                ) from error
            shapes = [tuple(t.shape) for t in tensors]
            reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), repr(error))
            raise FlowError(
                f"segment {name} refuses inputs of shape {shapes}: {type(error).__name__}: {reason}"
            ) from error

    def _sides(
        self, otherwise: Any, outputs: list[Value], name: str, conditional: bool
    ) -> tuple[str | None, ...]:
        if not conditional or otherwise is None or otherwise is NOTHING:
            return (None,) * len(outputs)
        sides = [side.value for side in leaves(otherwise)]
        if len(sides) != len(outputs):
            raise FlowError(
                f"segment {name} makes {len(outputs)} values where it runs, {len(sides)} are kept elsewhere: "
                "give when= an otherwise= of as many values"
            )
        for side, made in zip(sides, outputs, strict=True):
            if dict(side.shapes) != dict(made.shapes):
                raise FlowError(
                    f"segment {name} makes {made} where it runs, but {side} is kept elsewhere: {ONE_SHAPE}"
                )
        return tuple(side.name for side in sides)

    def _route(
        self, regions: TraceValue, variable: Variable, rule: ScoreRule, scores: TraceValue, pool: str
    ) -> None:
        own, read = regions.value.regions, scores.value
        pooled = read.regions == FRAME and own != FRAME
        wanted = rule.width(variable.axis)
        for _, shape in read.shapes:
            maps = pooled and (len(shape) != 3 or shape[0] != wanted)
            flat = not pooled and wanted is not None and shape != (wanted,)
            if maps or flat:
                made = "(n, height, width) a frame" if pooled else "a region"
                raise FlowError(
                    f"the axis {variable.name} has {len(variable.axis.values)} values, so its scores are {wanted} numbers {made}, "
                    f"(n, {wanted}{', h, w' if pooled else ''}); got {read}"
                )
        self._add(own, Decision(variable, rule, read.name, pool if pooled else ""))

    def _decide(self, variable: Variable, rule: HostRule, measured: TraceValue | None) -> None:
        if measured is not None and dict(measured.value.shapes) != {(): (1,)}:
            raise FlowError(
                f"{variable.name} is decided by one number per frame, a tensor (n, 1), got {measured.value}: "
                "end the segment with .reshape(-1, 1)"
            )
        self._add(FRAME, Decision(variable, rule, measured.value.name if measured is not None else None))

    def _add(self, regions: str, decision: Decision) -> None:
        last = self._operations[-1] if self._operations else None
        if isinstance(last, Route) and last.regions == regions:
            self._operations[-1] = Route(regions, (*last.decisions, decision))
        else:
            self._operations.append(Route(regions, (decision,)))

    def _variants(
        self, segment: str, inputs: Sequence[Value], axes: Mapping[str, Variable]
    ) -> list[dict[str, Choice]]:
        names = {name for value in inputs for name in value.variables} | {v.name for v in axes.values()}
        read = [variable for variable in self.variables if variable.name in names]
        if count_assignments(read) > MOST_ASSIGNMENTS:
            raise FlowError(too_many(segment, read))
        return [dict(values) for values in assignments(read)]

    def _input(self, spec: Interface) -> Value:
        shape = tuple(self._size.get(d, d) if isinstance(d, str) else d for d in spec.shape)
        return self._make(spec.name, FRAME, {(): shape}, spec.image)

    def _bind(self, spec: Interface) -> Interface:
        bound = tuple(self._size.get(d, d) if isinstance(d, str) else d for d in spec.shape)
        if isinstance(spec, Clip):
            return Clip(spec.name, bound[0], bound[2], bound[3])
        if isinstance(spec, Image):
            return Image(spec.name, bound[1], bound[2])
        return Tensor(spec.name, bound)

    def _tensor(self, value: Value, values: dict[str, Choice]) -> torch.Tensor:
        shape = value.shape(values)
        if free := [d for d in shape if isinstance(d, str)]:
            raise FlowError(f"{value.name} has the free dimension {free[0]!r}: sample it, or give its size")
        with self._fake:
            return torch.empty(2, *(int(d) for d in shape))

    def _make(
        self, name: str, regions: str, shapes: Mapping[Assignment, Shape], image: bool = False
    ) -> Value:
        times = 1
        unique = name
        while unique in self._values:
            unique, times = f"{name}#{times}", times + 1
        self._values[unique] = Value(unique, regions, _reduce(shapes), image)
        return self._values[unique]


def _declared(spec: Interface, value: Value) -> Interface:
    """An output with the size that it has."""
    (_, shape), *_ = value.shapes
    return Image(spec.name, shape[1], shape[2]) if isinstance(spec, Image) else Tensor(spec.name, shape)


def _reduce(shapes: Mapping[Assignment, Shape]) -> tuple[tuple[Assignment, Shape], ...]:
    """Drop the variables that no shape depends on."""
    kept = dict(shapes)
    for name in [name for name, _ in next(iter(kept))]:
        rest: dict[Assignment, set[Shape]] = {}
        for variant, shape in kept.items():
            rest.setdefault(tuple(p for p in variant if p[0] != name), set()).add(shape)
        if all(len(found) == 1 for found in rest.values()):
            kept = {variant: found.pop() for variant, found in rest.items()}
    return tuple(kept.items())
