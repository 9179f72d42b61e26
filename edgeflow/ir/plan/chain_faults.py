"""What is wrong with the chains of a plan: engines that run several of its steps at once."""

from __future__ import annotations

from collections.abc import Iterator

from edgeflow.ir.plan.known import Known
from edgeflow.ir.plan.plan import Chain, Plan, Stage
from edgeflow.ir.plan.stage_faults import graph_faults
from edgeflow.ir.program import FRAME, Decision, Route, Sample, Stitch, Tile
from edgeflow.ir.rules import HostRule


def chain_faults(chain: Chain, plan: Plan, known: Known) -> Iterator[str]:
    """A chain's steps, and its graphs against the values that these steps read and make."""
    if not 0 <= chain.first < chain.end <= len(plan.steps):
        yield f"there are no steps {chain.first} to {chain.end}"
        return
    steps = plan.steps[chain.first : chain.end]
    if not all(isinstance(step, Stage | Route) and step.regions == FRAME for step in steps):
        yield "it runs other steps than stages and decisions of the frame"
        return
    stages = [step for step in steps if isinstance(step, Stage)]
    inside = {name for stage in stages for name, _ in stage.otherwise}
    before = _made_before(plan, chain.first)
    for number, graph in enumerate(chain.graphs):
        made = {port.value for port in graph.outputs} | {name for name, _ in graph.kept}
        read = {port.value for port in graph.inputs} | {source for _, source in graph.kept}
        if odd := sorted((made - inside) | (read - before)):
            yield f"graphs[{number}] reads or makes {odd}, which is not there, or not its steps'"
        if needed := sorted(_read_after(plan, chain) & inside - made):
            yield f"graphs[{number}] does not make {needed}, which later steps read"
        if unknown := sorted(name for name, _ in graph.variant if name not in known.axes):
            yield f"graphs[{number}] is for {unknown}, which nothing decides"
        yield from (f"graphs[{number}]: {fault}" for fault in graph_faults(graph, FRAME, known))
        if graph.batches != (1,):
            yield f"graphs[{number}] is of the frame, so it runs one at a time"


def _made_before(plan: Plan, end: int) -> set[str]:
    made = {own.name for own in (*plan.inputs, *plan.states)}
    for step in plan.steps[:end]:
        match step:
            case Stage():
                made |= {name for name, _ in step.otherwise}
            case Tile():
                made |= set(step.outputs)
            case Stitch() | Sample():
                made.add(step.output)
    return made


def _read_after(plan: Plan, chain: Chain) -> set[str]:
    """Values that steps of a chain, for their decisions, or steps after it read."""
    found = set(plan.results)
    for number, step in enumerate(plan.steps[chain.first :], chain.first):
        if isinstance(step, Route):
            found |= {d.scores for d in step.decisions if d.scores and not _only_noted(d)}
        elif number < chain.end:
            continue
        elif isinstance(step, Stage):
            found |= {port.value for graph in step.graphs for port in graph.inputs}
            found |= {source for graph in step.graphs for _, source in graph.kept}
            found |= {other for _, other in step.otherwise if other is not None}
        elif isinstance(step, Tile):
            found |= set(step.inputs)
        else:
            found.add(step.input)
    return found


def _only_noted(decision: Decision) -> bool:
    """Whether a rule came with a measure that it does not read."""
    return isinstance(decision.rule, HostRule) and not decision.rule.measures


def overlapping_chains(plan: Plan) -> Iterator[str]:
    """Chains that run the same steps."""
    end = 0
    for chain in plan.chains:
        if chain.first < end:
            yield "its chains overlap, or stand in another order than its steps"
        end = max(end, chain.end)
