"""What every region of a frame takes: by the model's rules, or by a policy's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.errors import BackendError, InputError
from edgeflow.ir.plan import Plan
from edgeflow.ir.program import Decision, Route
from edgeflow.ir.route import Axis
from edgeflow.ir.rules import HostRule, Rule, ScoreRule, StreamContext
from edgeflow.ir.tiles import TileGrid, pool_map
from edgeflow.runtime.backends.memory import Memory
from edgeflow.runtime.stream.policy import Policy
from edgeflow.runtime.stream.rows import Rows


class Decisions:
    """The decisions of a plan, and what rules remember of the stream.

    Args:
        plan: whose decisions they are.
        policy: what to make of them.
        grids: by the regions they make.
        memory: where scores lie.

    Raises:
        InputError: the policy names an axis that the model lacks, or a policy's rule reads a measure
            that it lacks.
    """

    def __init__(self, plan: Plan, policy: Policy, grids: Mapping[str, TileGrid], memory: Memory) -> None:
        steps = [step for step in plan.steps if isinstance(step, Route)]
        decisions = [decision for step in steps for decision in step.decisions]
        self.axes: dict[str, Axis] = {variable.name: variable.axis for variable in plan.variables}
        policy.check(self.axes)
        self.owners = {d.variable.name: step.regions for step in steps for d in step.decisions}
        self._policy, self._grids, self._memory = policy, grids, memory
        self._rules = _rules(decisions, policy)
        self.read = frozenset(d.scores for d in decisions if d.scores and self._reads(d))
        self._context = StreamContext()

    @property
    def before(self) -> Mapping[str, NDArray[np.intp]]:
        """What the call before took, (regions,) per variable; nothing at the start of a stream."""
        return self._context.taken

    def reset(self) -> None:
        """Forget the stream, but not how long calls take."""
        self._context = StreamContext(took=self._context.took)

    def advance(self, routes: Mapping[str, NDArray[np.intp]]) -> None:
        """A frame ended that took these routes."""
        self._context.advance(routes)

    def time(self, milliseconds: float) -> None:
        """That frame's call took so long."""
        self._context.time(milliseconds)

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
        found: dict[str, NDArray[np.intp]] = {}
        for decision in step.decisions:
            own = self._own(decision, step.regions, order, value)
            if order is None:
                found[decision.variable.name] = self._policy.choose(decision.variable, own)
            else:  # policies see regions in natural order, also after an earlier step put them in its own
                natural = self._policy.choose(decision.variable, own[np.argsort(order)])
                found[decision.variable.name] = natural[order]
        return found

    def _own(
        self,
        decision: Decision,
        regions: str,
        order: NDArray[np.intp] | None,
        value: Callable[[str], Rows],
    ) -> NDArray[np.intp]:
        """What the rule chooses, before the policy has a say."""
        variable = decision.variable
        rule = self._rules[variable.name]
        measured = value(decision.scores) if decision.scores and self._reads(decision) else None
        if isinstance(rule, HostRule):
            number = None if measured is None else float(self._memory.download(measured.row(0)).ravel()[0])
            _check_finite(number or 0.0, variable.name)
            return np.array([rule.choose(self._context, variable, number)])
        assert measured is not None and isinstance(rule, ScoreRule)
        before = self._context.taken.get(variable.name)
        if before is not None and order is not None:
            before = before[order]
        scores = self._scores(decision, regions, order, measured)
        _check_finite(scores, variable.name)
        return rule.decide(scores, variable.axis, before)

    def _scores(
        self, decision: Decision, regions: str, order: NDArray[np.intp] | None, measured: Rows
    ) -> NDArray[np.float32]:
        """Scores of every region, as they stand: (regions, values)."""
        if decision.pooled:
            scores = self._memory.download(measured.row(0))
            pooled = pool_map(scores, self._grids[regions], decision.pooled)
            return pooled if order is None else pooled[order]
        count = len(self._grids[regions]) if regions in self._grids else 1
        return np.stack([self._memory.download(measured.row(i)) for i in range(count)]).reshape(count, -1)

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
    return bool(plan.states) or any(rule.history for rule in rules.values())


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
