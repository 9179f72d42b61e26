"""What every region of a frame takes: by the model's rules, or by a policy's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.errors import BackendError, InputError
from edgeflow.ir.plan import Plan
from edgeflow.ir.program import FRAME, Decision, Route
from edgeflow.ir.route import Axis
from edgeflow.ir.rules import HostRule, Rule, ScoreRule, StreamContext
from edgeflow.ir.tiles import TileGrid, pool_map
from edgeflow.runtime.backends.memory import Memory
from edgeflow.runtime.stream.loading import LoadedGraph
from edgeflow.runtime.stream.policy import Policy
from edgeflow.runtime.stream.rows import Rows
from edgeflow.runtime.stream.trace import Trace


class Decisions:
    """The decisions of a plan, and what rules remember of the stream.

    Args:
        plan: whose decisions they are.
        policy: what to make of them.
        grids: by the regions they make.
        memory: where scores lie.
        loaded: the plan's engines, with what runs of them cost.

    Raises:
        InputError: the policy names an axis that the model lacks, or a policy's rule reads a measure
            that it lacks, or the model cannot do what the policy asks for.
    """

    def __init__(
        self,
        plan: Plan,
        policy: Policy,
        grids: Mapping[str, TileGrid],
        memory: Memory,
        loaded: Mapping[str, LoadedGraph],
    ) -> None:
        steps = [step for step in plan.steps if isinstance(step, Route)]
        decisions = [decision for step in steps for decision in step.decisions]
        self.axes: dict[str, Axis] = {variable.name: variable.axis for variable in plan.variables}
        policy.check(self.axes)
        self.owners = {d.variable.name: step.regions for step in steps for d in step.decisions}
        self._policy, self._grids, self._memory = policy, grids, memory
        self._rules = _rules(decisions, policy)
        self.read = frozenset(d.scores for d in decisions if d.scores and self._reads(d))
        self._context = StreamContext()
        counts = {FRAME: 1, **{name: len(grid) for name, grid in grids.items()}}
        self._steering = policy.steering(plan, loaded, counts, self.read)
        self._started = 0.0

    @property
    def before(self) -> Mapping[str, NDArray[np.intp]]:
        """What the call before took, (regions,) per variable; nothing at the start of a stream."""
        return self._context.taken

    def reset(self) -> None:
        """Forget the stream, but not how long calls take."""
        self._context = StreamContext(took=self._context.took)

    def begin(self, started: float) -> None:
        """A frame began at that time of `perf_counter`."""
        self._started = started
        if self._steering:
            self._steering.begin()

    def advance(self, routes: Mapping[str, NDArray[np.intp]]) -> None:
        """A frame ended that took these routes."""
        self._context.advance(routes)

    def ended(self, trace: Trace) -> None:
        """That frame's call is done."""
        self._context.time(trace.total_ms)
        if self._steering:
            self._steering.ended(trace)

    def decide(
        self,
        step: Route,
        order: NDArray[np.intp] | None,
        lengths: Mapping[str, int],
        value: Callable[[str], Rows],
    ) -> dict[str, NDArray[np.intp]]:
        """Positions on the axes that the regions take, (regions,) per variable.

        Args:
            step: of the plan.
            order: in which the regions stand, if an earlier step put them in one.
            lengths: of the frame's inputs, by name.
            value: gives a value's rows.
        """
        self._context.lengths = dict(lengths)
        own: dict[str, NDArray[np.intp]] = {}
        scores: dict[str, NDArray[np.float32]] = {}
        for (
            decision
        ) in step.decisions:  # regions in natural order, also after an earlier step put them in its own
            name, rule = decision.variable.name, self._rules[decision.variable.name]
            measured = value(decision.scores) if decision.scores and self._reads(decision) else None
            if isinstance(rule, HostRule):
                number = self._number(decision, measured)
                own[name] = np.array([rule.choose(self._context, decision.variable, number)])
                continue
            assert measured is not None and isinstance(rule, ScoreRule)
            scores[name] = self._scores(decision, step.regions, order, measured)
            own[name] = rule.decide(scores[name], decision.variable.axis, self._context.taken.get(name))
        if self._steering:
            own = self._steering.decide(step, scores, own, (perf_counter() - self._started) * 1e3)
        found = {
            d.variable.name: self._policy.choose(d.variable, own[d.variable.name]) for d in step.decisions
        }
        return found if order is None else {name: chosen[order] for name, chosen in found.items()}

    def _number(self, decision: Decision, measured: Rows | None) -> float | None:
        """What a segment measured of the frame, if a rule reads it."""
        if measured is None:
            return None
        number = float(self._memory.download(measured.row(0)).ravel()[0])
        _check_finite(number, decision.variable.name)
        return number

    def _scores(
        self, decision: Decision, regions: str, order: NDArray[np.intp] | None, measured: Rows
    ) -> NDArray[np.float32]:
        """Scores of every region, in their own order: (regions, values)."""
        if decision.pooled:
            scores = pool_map(self._memory.download(measured.row(0)), self._grids[regions], decision.pooled)
        else:
            count = len(self._grids[regions]) if regions in self._grids else 1
            rows = [self._memory.download(measured.row(i)) for i in range(count)]
            standing = np.stack(rows).reshape(count, -1)
            scores = standing if order is None else standing[np.argsort(order)]
        _check_finite(scores, decision.variable.name)
        return scores

    def _reads(self, decision: Decision) -> bool:
        """Whether a decision reads its scores: a rule that reads none may have come with a measure."""
        rule = self._rules[decision.variable.name]
        return not isinstance(rule, HostRule) or rule.measures


def _check_finite(scores: NDArray[np.float32] | float, variable: str) -> None:
    """Refuse to decide by what is no number.

    Raises:
        BackendError: scores are NaN or infinite.
    """
    if not np.isfinite(scores).all():
        raise BackendError(
            f"the scores of {variable} are not finite in this frame, so no route can be chosen: check the frame, the weights "
            "and the engines' precision (`edgeflow check`)"
        )


def in_order(plan: Plan, policy: Policy) -> bool:
    """Whether frames must run one after the other, for states or for rules that look at the stream.

    Raises:
        InputError: as `Decisions`.
    """
    steps = [step for step in plan.steps if isinstance(step, Route)]
    policy.check({variable.name: variable.axis for variable in plan.variables})
    rules = _rules([decision for step in steps for decision in step.decisions], policy)
    return policy.remembers or bool(plan.states) or any(rule.history for rule in rules.values())


def _rules(decisions: Sequence[Decision], policy: Policy) -> dict[str, Rule]:
    """The rule of every variable.

    Raises:
        InputError: a policy's rule reads a measure, and the model has none.
    """
    rules: dict[str, Rule] = {}
    for decision in decisions:
        rule = policy.rule(decision.variable, decision.rule)
        rules[decision.variable.name] = rule
        if isinstance(rule, HostRule) and rule.measures and decision.scores is None:
            raise InputError(
                f"{rule.kind} reads a measure of the frame, and this bundle has none for {decision.variable.name}: "
                "use another rule, or give f.decide a measure and export again"
            )
    return rules
