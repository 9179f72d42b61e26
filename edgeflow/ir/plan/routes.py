"""The full static model inside a plan: its dearest route, without the decisions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from math import inf, prod

from edgeflow.ir.plan import Plan, Stage, StageGraph, Step
from edgeflow.ir.plan.route_shares import in_words
from edgeflow.ir.program import Keep, Route, Sample, Stitch, Tile, region_counts
from edgeflow.ir.route import ALWAYS, Choice, Variable, assignments
from edgeflow.ir.rules import Spread


def working_stages(plan: Plan, read: Collection[str] = ()) -> frozenset[str]:
    """Names of the stages that results or states come from; the others only decide (the router).

    Args:
        plan: what to execute.
        read: values that are needed besides.
    """
    needed, sampled, working = {*plan.results, *read}, set(), set()
    for step in reversed(plan.steps):
        match step:
            case Stage() if needed & {name for name, _ in step.otherwise}:
                working.add(step.name)
                needed |= {name for _, name in step.otherwise if name is not None}
                needed |= {port.value for graph in step.graphs for port in graph.inputs}
                needed |= {source for graph in step.graphs for _, source in graph.kept}
            case Stitch() | Keep():
                needed.add(step.input)
            case Tile() if needed & set(step.outputs):
                needed |= set(step.inputs)
            case Sample():
                needed.add(step.input)
                sampled.add(step.variable)
            case Route():
                # A sampled length is data of the work, so what decides it is work.
                needed |= {d.scores for d in step.decisions if d.scores and d.variable.name in sampled}
    return frozenset(working)


def dearest_route(plan: Plan, size: tuple[int, int]) -> dict[str, Choice]:
    """The value of every variable at which a frame costs most; no value if the plan decides nothing.

    Variables that no stage reads together are looked at apart, so that routes are never multiplied out.

    Args:
        plan: what to execute.
        size: (height, width) of the frames.
    """
    counts = region_counts(plan.steps, size)
    return _best_route(plan, lambda stages, chosen: _flops(stages, counts, size, chosen))


def full_route(plan: Plan, size: tuple[int, int]) -> dict[str, Choice]:
    """The route with which a frame is compared: the dearest, but of tiles and the whole frame (`Spread`) the cheaper.

    These are two means to the same picture, and all tiles together compute their halos beside the frame.

    Args:
        plan: what to execute.
        size: (height, width) of the frames.
    """
    decisions = [decision for step in plan.steps if isinstance(step, Route) for decision in step.decisions]
    spread = [decision.variable for decision in decisions if isinstance(decision.rule, Spread)]
    routes = [_dearest_of(plan, size, dict(way)) for way in assignments(spread)]
    return min(routes, key=lambda route: route_flops(plan, size, route))


def full_in_words(plan: Plan, route: Mapping[str, Choice]) -> str:
    """The full static model, for people: whether it is the frame as one or all of its tiles, and its route.

    Args:
        plan: what to execute.
        route: of the full static model, see `full_route`.
    """
    decisions = [decision for step in plan.steps if isinstance(step, Route) for decision in step.decisions]
    spread = [decision.variable for decision in decisions if isinstance(decision.rule, Spread)]
    if any(route.get(variable.name) == variable.axis.values[1] for variable in spread):
        what = "the whole frame at once"
    else:
        tiled = any(isinstance(step, Tile) for step in plan.steps)
        what = f"the dearest route{' of every tile' if tiled else ''}"
    return f"{what}, {in_words(route)}" if route else what


def _dearest_of(plan: Plan, size: tuple[int, int], way: Mapping[str, Choice]) -> dict[str, Choice]:
    """The dearest of the routes that have these values; what does not matter to it is as in the dearest of all."""
    counts = region_counts(plan.steps, size)

    def worth(stages: Sequence[Stage], chosen: Mapping[str, Choice]) -> float:
        held = all(chosen.get(name, value) == value for name, value in way.items())
        return _flops(stages, counts, size, chosen) if held else -1

    found, usual = _best_route(plan, worth), {**dearest_route(plan, size), **way}
    return usual if route_flops(plan, size, usual) == route_flops(plan, size, found) else found


def cheapest_route(
    plan: Plan, cost: Callable[[Sequence[Stage], Mapping[str, Choice]], float]
) -> dict[str, Choice]:
    """The value of every variable at which a frame costs least.

    Args:
        plan: what to execute.
        cost: of some stages, for all their regions, on a route that names the variables that they read.
    """
    return _best_route(plan, lambda stages, chosen: -cost(stages, chosen))


def _best_route(
    plan: Plan, worth: Callable[[Sequence[Stage], Mapping[str, Choice]], float]
) -> dict[str, Choice]:
    """The value of every variable at which a frame is worth most, as the sum of what its stages are worth."""
    route = {variable.name: variable.axis.values[0] for variable in plan.variables}
    for variables, stages in _together(plan):
        route |= _best(variables, lambda chosen, own=stages: worth(own, chosen))  # type: ignore[misc]
    return route


def _flops(
    stages: Sequence[Stage], counts: Mapping[str, int], size: tuple[int, int], route: Mapping[str, Choice]
) -> int:
    """FLOPs of some stages, of as many regions as counted, on a route that names the variables that they read."""
    return sum(counts[s.regions] * graph.flops_at(size) for s in stages for graph in selected(s, route))


MOST_ROUTES = 4096
"""So many routes over variables that stages read together are compared one by one; of more, variable by variable."""


def _best(variables: Sequence[Variable], worth: Callable[[Mapping[str, Choice]], float]) -> dict[str, Choice]:
    """The best of all routes over some variables; where these are too many, one that no single change makes better."""
    if prod(len(variable.axis.values) for variable in variables) <= MOST_ROUTES:
        return max(map(dict, assignments(variables)), key=worth)
    best = {variable.name: variable.axis.values[0] for variable in variables}
    before = -inf
    while worth(best) > before:
        before = worth(best)
        for variable in variables:
            best = max(({**best, variable.name: value} for value in variable.axis.values), key=worth)
    return best


def _together(plan: Plan) -> list[tuple[list[Variable], list[Stage]]]:
    """Variables that stages read together, with these stages."""
    groups: list[tuple[set[str], list[Stage]]] = []
    for stage in plan.stages:
        names = {name for graph in stage.graphs for name in graph.select.variables}
        touching = [group for group in groups if group[0] & names]
        merged = (
            names.union(*(own for own, _ in touching)),
            [s for _, own in touching for s in own] + [stage],
        )
        groups = [group for group in groups if group not in touching] + [merged]
    return [([v for v in plan.variables if v.name in names], stages) for names, stages in groups if names]


def route_flops(plan: Plan, size: tuple[int, int], route: Mapping[str, Choice]) -> int:
    """FLOPs of a frame (height, width) whose every region takes this route."""
    return _flops(plan.stages, region_counts(plan.steps, size), size, route)


def selected(stage: Stage, route: Mapping[str, Choice]) -> tuple[StageGraph, ...]:
    """The stage's graphs that run where every variable has the route's value."""
    return tuple(graph for graph in stage.graphs if graph.select.holds(route))


def static_plan(plan: Plan, route: Mapping[str, Choice]) -> Plan:
    """The plan of the model that takes this route everywhere: no decisions, no router, no state that is not read.

    Decisions whose value is sampled by stay; run it with the policy `Fixed(**route)` of those.
    """
    sampled = {step.variable for step in plan.steps if isinstance(step, Sample)}
    working = working_stages(plan)
    steps: list[Step] = []
    for step in plan.steps:
        match step:
            case Stage():
                if step.name in working:
                    graphs = (replace(g, select=ALWAYS) for g in selected(step, route))
                    steps.append(replace(step, graphs=tuple(graphs)))
            case Keep():
                if step.when.holds(route):
                    steps.append(replace(step, when=ALWAYS))
            case Route():
                left = tuple(d for d in step.decisions if d.variable.name in sampled)
                if left:
                    steps.append(replace(step, decisions=left))
            case _:
                steps.append(step)
    read = {port.value for s in steps if isinstance(s, Stage) for g in s.graphs for port in g.inputs}
    kept = [step for step in steps if not isinstance(step, Keep) or step.state in read]
    return replace(plan, steps=tuple(kept), chains=())
