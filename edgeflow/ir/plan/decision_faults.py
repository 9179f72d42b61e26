"""What is wrong with the decisions of a plan."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from edgeflow.ir.errors import EdgeflowError
from edgeflow.ir.plan.known import Known, reads
from edgeflow.ir.plan.plan import Plan
from edgeflow.ir.program import FRAME, Decision, Route
from edgeflow.ir.rules import HostRule, Length, Nearest, ScoreRule


def route_faults(step: Route, plan: Plan, known: Known) -> Iterator[str]:
    """Decisions that their rules cannot make; their variables are known from then on."""
    if step.regions != FRAME and step.regions not in known.tilings:
        yield f"{step.regions!r} is no tiling before it"
        return
    for decision in step.decisions:
        yield from (f"{decision.variable.name}: {fault}" for fault in _decision(decision, step, plan, known))
        known.axes[decision.variable.name] = decision.variable.axis
        known.owners[decision.variable.name] = step.regions


def _decision(decision: Decision, step: Route, plan: Plan, known: Known) -> Iterator[str]:
    rule, axis = decision.rule, decision.variable.axis
    try:
        rule.check_axis(axis)
    except (EdgeflowError, TypeError, ValueError) as error:
        yield f"{rule.kind}: {error}"
        return
    if decision.scores is not None:
        yield from reads([decision.scores], FRAME if decision.pooled else step.regions, known)
    if isinstance(rule, HostRule):
        if step.regions != FRAME:
            yield f"{rule.kind} decides for the frame, not for {step.regions!r}"
        if rule.measures and decision.scores is None:
            yield f"{rule.kind} reads a measure, and there is none"
        length = rule.length if isinstance(rule, Nearest) else None
        if isinstance(length, Length) and length.input not in {spec.name for spec in plan.inputs}:
            yield f"{length.input!r} is no input"
        return
    if decision.scores is None or decision.scores not in known.values:
        yield f"{rule.kind} reads scores, and there are none"
        return
    shapes = [shape for _, shape in known.values[decision.scores].shapes]
    width = rule.width(axis) if isinstance(rule, ScoreRule) else None
    for shape in shapes:
        scores = (
            shape[0] if decision.pooled and len(shape) == 3 else prod(s for s in shape if isinstance(s, int))
        )
        if (decision.pooled and (len(shape) != 3 or step.regions == FRAME)) or any(
            isinstance(s, str) for s in shape[:1]
        ):
            yield f"scores of shape {shape} cannot be read for {step.regions!r}"
        elif width is not None and scores != width:
            yield f"{rule.kind} reads {width} scores, {decision.scores!r} has {scores}"
