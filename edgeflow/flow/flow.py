"""The primitives of a flow, and what every interpreter does alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeflow.flow.segments import segment_name
from edgeflow.ir.errors import FlowError
from edgeflow.ir.program import FRAME
from edgeflow.ir.route import ALWAYS, NEVER, Choice, Condition, Variable, as_condition
from edgeflow.ir.rules import Argmax, HostRule, Rule, ScoreRule

if TYPE_CHECKING:
    from edgeflow.flow.module import RoutedModule

NOTHING: Any = object()
"""Stands for the value of a region where a call did not run and gave no other value."""
ONE_SHAPE = "both sides of when= need one shape; with otherwise=None nothing stands there, and what reads it has the same when="


@dataclass(frozen=True, eq=False)
class Selector:
    """The chosen value of one axis; comparisons give conditions."""

    variable: Variable

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        self.variable.axis.index(other)  # type: ignore[arg-type]
        return self._where(lambda value: value == other)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return ~(self == other)

    def __ge__(self, other: Any) -> Condition:
        return self._where(lambda value: value >= other)

    def __gt__(self, other: Any) -> Condition:
        return self._where(lambda value: value > other)

    def __le__(self, other: Any) -> Condition:
        return self._where(lambda value: value <= other)

    def __lt__(self, other: Any) -> Condition:
        return self._where(lambda value: value < other)

    def __and__(self, other: Any) -> Condition:
        return self.condition() & _condition_of(other)

    __rand__ = __and__

    def __or__(self, other: Any) -> Condition:
        return self.condition() | _condition_of(other)

    __ror__ = __or__

    def __invert__(self) -> Condition:
        return ~self.condition()

    def __hash__(self) -> int:
        return hash(self.variable)

    def __bool__(self) -> bool:
        raise FlowError(
            f"the decision {self.variable.name} has no single value: pass it as when= or as an axis, "
            "do not branch on it in Python"
        )

    def condition(self) -> Condition:
        """Truth of a (False, True) axis."""
        if set(self.variable.axis.values) != {False, True}:
            raise FlowError(
                f"{self.variable.name} has the values {self.variable.axis.values!r}: compare it with one of them"
            )
        return Condition("in", variable=self.variable.name, values=(True,))

    def _where(self, passes: Any) -> Condition:
        values = tuple(value for value in self.variable.axis.values if passes(value))
        if not values:
            return NEVER
        if len(values) == len(self.variable.axis.values):
            return ALWAYS
        return Condition("in", variable=self.variable.name, values=values)


class Chosen:
    """What `route` and `decide` return: one selector per axis, as attributes."""

    def __init__(self, selectors: Mapping[str, Selector]) -> None:
        self.__dict__.update(selectors)

    def __getattr__(self, name: str) -> Selector:
        raise FlowError(f"nothing was decided for the axis {name!r}: decided are {sorted(self.__dict__)}")


class States:
    """The states of a flow, as attributes."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise FlowError(f"the flow has no state {name!r}: it has {sorted(self.__dict__)}")


@dataclass(frozen=True)
class Scored:
    """A rule together with the value it reads.

    Attributes:
        rule: that decides.
        scores: of the regions, or a map over the frame.
        pool: what of a map counts for a tile's patch: its `mean`, or its `max`.
    """

    rule: ScoreRule
    scores: Any
    pool: str = "mean"

    def __post_init__(self) -> None:
        if self.pool not in ("mean", "max"):
            raise FlowError(f"Scored: of a patch the 'mean' or the 'max' counts, got {self.pool!r}")


class Flow(ABC):
    """The primitives. A flow's values are opaque: only interpreters look inside."""

    def __init__(self, model: RoutedModule) -> None:
        self.model = model
        self.variables: list[Variable] = []
        self._bound: dict[str, str] = {}

    # What an author calls -------------------------------------------------------------------

    def call(
        self, segment: Any, *inputs: Any, when: Any = True, otherwise: Any = NOTHING, **axes: Any
    ) -> Any:
        """Run a segment (a submodule or a method of one) on values of one region set.

        Args:
            segment: called as `segment(*tensors, **axis_values)`; tensors (regions, ...).
            inputs: values; a tuple of values counts as several inputs.
            when: where to run it; a condition on chosen values, or a truth value.
            otherwise: the output where it does not run; its first input if not given.
            axes: keyword arguments of the segment: a chosen axis value, or a constant.
        """
        flat = self._placed(flatten(inputs))
        condition = _condition_of(when)
        if otherwise is NOTHING and condition != ALWAYS:
            otherwise = flat[0]
        elif otherwise is not NOTHING and otherwise is not None:
            sides = self._placed(leaves(otherwise), flat[0].regions)
            otherwise = rebuild(otherwise, list(sides))
        chosen = {k: v.variable for k, v in axes.items() if isinstance(v, Selector)}
        constants = {k: v for k, v in axes.items() if not isinstance(v, Selector)}
        return self._call(segment, flat, condition, otherwise, chosen, constants)

    def switch(self, selector: Selector, branches: Mapping[Choice, Any] | None = None, **named: Any) -> Any:
        """Run one of several segments: `key=(self.middle, a), shortcut=(self.block, b, a)`.

        A branch may be a list: `[(self.align, b, a), self.blend, self.expand]` runs one segment after
        another, each on what the one before made. Branches are named by the axis's values; give a mapping
        where they are no words.

        Raises:
            FlowError: a value of the axis has no branch, or a branch no value.
        """
        given: dict[Any, Any] = {**(branches or {}), **named}
        values = selector.variable.axis.values
        if set(given) != set(values):
            raise FlowError(
                f"switch over {selector.variable.name} has branches for {sorted(map(str, given))}, "
                f"its axis has {values!r}: give each value one branch"
            )
        result: Any = None
        for value in values:
            branch = given[value]
            (segment, *inputs), *rest = branch if isinstance(branch, list) else [branch]
            for following in rest:
                made = self.call(segment, *inputs, when=selector == value, otherwise=None)
                segment, inputs = following, [made]
            result = self.call(segment, *inputs, when=selector == value, otherwise=result)
        return result

    def route(self, regions: Any, **choices: Any) -> Chosen:
        """Decide, for every region of a value, one value of each named axis.

        A choice is a value of scores (argmax decides), `Scored(rule, scores)`, or a rule that
        scores `regions` itself. Scores are (regions, n), or for tiles a map (1, n, h, w) over
        the frame: of each tile's patch the mean counts, or the largest (`Scored(rule, scores, pool="max")`).
        """
        (regions,) = self._placed(flatten((regions,))[:1])
        selectors = {}
        for name, choice in choices.items():
            rule: Rule
            pool = "mean"
            if isinstance(choice, Scored):
                rule, scores = choice.rule, choice.scores
                pool = choice.pool
            elif isinstance(choice, Rule):
                rule, scores = choice, regions
            else:
                rule, scores = Argmax(), choice
            if not isinstance(rule, ScoreRule):
                raise FlowError(f"{type(rule).__name__} reads no scores: use f.decide({name}=...)")
            variable = self._variable(name)
            rule.check_axis(variable.axis)
            if getattr(scores, "state", ""):
                (scores,) = self._placed((scores,), regions.regions)
            self._route(regions, variable, rule, scores, pool)
            selectors[name] = Selector(variable)
        return Chosen(selectors)

    def decide(self, measured: Any = None, /, **rules: HostRule) -> Chosen:
        """Decide per frame by a host rule: `f.decide(mode=KeyFrameInterval(3))`.

        Args:
            measured: a value of one number per frame, (1, 1), for rules that read a measure. Give it even if
                the rule here reads none: a policy may replace the rule at run time.
            rules: by axis.

        Raises:
            FlowError: a rule reads a measure and none is given.
        """
        selectors = {}
        for name, rule in rules.items():
            if rule.measures and measured is None:
                raise FlowError(f"{type(rule).__name__} reads a measure: use f.decide(measure, {name}=...)")
            variable = self._variable(name)
            rule.check_axis(variable.axis)
            self._decide(variable, rule, measured)
            selectors[name] = Selector(variable)
        return Chosen(selectors)

    @abstractmethod
    def tile(self, *frames: Any, size: int, halo: int, multiple: int | None = None) -> Any:
        """Cut frames of one size into tiles of `size` pixels; one value per frame.

        Args:
            frames: input images, or values (1, c, h, w) that segments made of frames: a flow map, features. These may
                be smaller than the frame by a whole factor. After the first, values (1, c) too, such as a time: what
                has no height and width is every tile's as it is.
            size: side of a tile, in pixels.
            halo: pixels of a tile beyond its patch, at every seam.
            multiple: tiles begin at multiples of so many pixels. If not given, the grid that the segments of
                these tiles work on is found, so that they compute what they would of the whole frame.
        """

    def stitch(self, tiles: Any, blend: bool = False) -> Any:
        """Put tiles back together: each writes the patch it answers for.

        Tiles may be larger than they were cut by a whole factor, and so is the frame then.

        Args:
            tiles: a value of tiles, (tiles, c, size, size).
            blend: let neighbours fade into each other over their halos, instead of meeting in a seam.
        """
        (tiles,) = self._placed((tiles,))
        return self._stitch(tiles, blend)

    def state(self, **shapes: Sequence[int]) -> Any:
        """Tensors that live across frames, by name: their shape without the batch dimension.

        A state belongs to the regions that it is first read or kept with: one tensor for the frame, or one for
        every tile. They hold zeros after a reset (a new stream, another size, a scene cut).
        """
        return States({name: self._declare(name, tuple(shape)) for name, shape in shapes.items()})

    def keep(self, *, when: Any = True, **values: Any) -> None:
        """Write states, in the regions where the condition holds; read back from the next frame on.

        Raises:
            FlowError: no such state, or it belongs to other regions.
        """
        condition = _condition_of(when)
        for name, value in values.items():
            (value,) = self._placed((value,))
            self._belong(name, value.regions)
            self._keep(name, value, condition)

    @abstractmethod
    def sample(self, clip: Any, frames: Selector) -> Any:
        """As many evenly spaced entries of a clip (1, time, ...) as the axis value says."""

    def _placed(self, values: Sequence[Any], regions: str | None = None) -> tuple[Any, ...]:
        """The values, states among them as those of the regions that the others have, or of these regions."""
        own = regions or next((value.regions for value in values if not value.state), None)
        return tuple(
            self._state_of(value.state, self._belong(value.state, own)) if value.state else value
            for value in values
        )

    def _belong(self, state: str, regions: str | None) -> str:
        """The regions that a state belongs to, from its first use on."""
        bound = self._bound.setdefault(state, regions or FRAME)
        if regions and bound != regions:
            raise FlowError(
                f"the state {state} belongs to {bound}, where it was first used, and is used with {regions}: "
                "let it be two states"
            )
        return bound

    # What an interpreter gives --------------------------------------------------------------

    @abstractmethod
    def _stitch(self, tiles: Any, blend: bool) -> Any: ...

    @abstractmethod
    def _declare(self, state: str, shape: tuple[int, ...]) -> Any: ...

    @abstractmethod
    def _state_of(self, state: str, regions: str) -> Any: ...

    @abstractmethod
    def _keep(self, state: str, value: Any, condition: Condition) -> None: ...

    @abstractmethod
    def _call(
        self,
        segment: Any,
        inputs: tuple[Any, ...],
        when: Condition,
        otherwise: Any,
        axes: dict[str, Variable],
        constants: dict[str, Any],
    ) -> Any: ...

    @abstractmethod
    def _route(self, regions: Any, variable: Variable, rule: ScoreRule, scores: Any, pool: str) -> None: ...

    @abstractmethod
    def _decide(self, variable: Variable, rule: HostRule, measured: Any) -> None: ...

    def _variable(self, axis: str) -> Variable:
        axes = self.model.axes
        if axis not in axes:
            raise FlowError(f"{type(self.model).__name__} has no axis {axis!r}: it has {sorted(axes)}")
        times = sum(v.axis_name == axis for v in self.variables)
        variable = Variable(f"{axis}.{times}" if times else axis, axes[axis])
        self.variables.append(variable)
        return variable

    def _name(self, segment: Any) -> str:
        return segment_name(self.model, segment)


def _condition_of(value: Any) -> Condition:
    return value.condition() if isinstance(value, Selector) else as_condition(value)


def flatten(values: Any) -> tuple[Any, ...]:
    """Nested tuples and lists as one tuple."""
    if isinstance(values, tuple | list):
        return tuple(leaf for value in values for leaf in flatten(value))
    return (values,)


def leaves(result: Any) -> tuple[Any, ...]:
    """What a segment returned, as a tuple: a tensor, a tuple of them, or a dict's values."""
    if isinstance(result, dict):
        return tuple(result.values())
    return tuple(result) if isinstance(result, tuple | list) else (result,)


def rebuild(like: Any, values: Sequence[Any]) -> Any:
    """`values` in the structure of a segment's result."""
    if isinstance(like, dict):
        return dict(zip(like, values, strict=True))
    return tuple(values) if isinstance(like, tuple | list) else values[0]
