"""Which steps become chains: runs of decisions that a clip's calls decide alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from edgeflow.export.drafts import ChainDraft, PlanDraft, StageDraft, StepDraft, chain_variant
from edgeflow.export.planning.expected_routes import ExpectedRoutes
from edgeflow.ir.program import FRAME, Program, Route
from edgeflow.ir.route import Assignment

DECISIONS = 4
"""Steps that decide in one chain. A miss costs what its chain took, so long chains gain more and lose more."""
LIKELY = 3
"""Routes of a chain that get an engine, at most."""


def chains_of(program: Program, draft: PlanDraft, expected: ExpectedRoutes) -> tuple[ChainDraft, ...]:
    """The chains of a plan, with the routes that calls took most.

    Args:
        program: that the plan is of.
        draft: its steps.
        expected: whole routes of calls, of which each chain looks at its own variables.
    """
    starts = [0]
    for step in draft.steps:
        starts.append(starts[-1] + (len(step.calls) if isinstance(step, StageDraft) else 1))
    taken: Counter[Assignment] = Counter()
    for frame in expected.frames:
        taken.update(frame.get(FRAME, {}))
    found = []
    for first, end in _windows(draft.steps):
        variants = Counter[object]()
        for route, count in taken.items():
            variants[chain_variant(program, starts[first], starts[end], route)] += count
        likely = tuple(variant for variant, _ in variants.most_common(LIKELY))
        segments = [step.name for step in draft.steps[first:end] if isinstance(step, StageDraft)]
        found.append(ChainDraft(f"chain.{segments[0]}..{segments[-1]}", first, end, likely))  # type: ignore[arg-type]
    return tuple(chain for chain in found if chain.variants)


def _windows(steps: Sequence[StepDraft]) -> Iterator[tuple[int, int]]:
    """Steps `first` to `end`, exclusive, that are stages with decisions between them, on the frame."""
    first = last = None
    inside = 0
    for number, step in enumerate(steps):
        staged = isinstance(step, StageDraft) and step.regions == FRAME
        decides = isinstance(step, Route) and step.regions == FRAME
        if not (staged or decides) or (decides and inside == DECISIONS):
            if last is not None and first is not None and inside:
                yield first, last + 1
            first = last = None
            inside = 0
        elif staged:
            first, last = (number if first is None else first), number
        elif first is not None:
            inside += 1
    if last is not None and first is not None and any(isinstance(s, Route) for s in steps[first:last]):
        yield first, last + 1
