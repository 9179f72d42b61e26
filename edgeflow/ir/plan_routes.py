"""The full static model inside a plan: its dearest route, without the decisions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import product

from edgeflow.ir.plan import Plan, Stage, StageGraph, Step
from edgeflow.ir.program import Keep, Route, Sample, Stitch, Tile, region_counts
from edgeflow.ir.route import ALWAYS, Choice


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
    """The value of every axis at which a frame costs most; no value if the plan decides nothing.

    Args:
        plan: what to execute.
        size: (height, width) of the frames.
    """
    axes = {variable.axis_name: variable.axis for variable in plan.variables}
    routes = [dict(zip(axes, values, strict=True)) for values in product(*(a.values for a in axes.values()))]

    return max(routes, key=lambda route: route_flops(plan, size, route))


def route_flops(plan: Plan, size: tuple[int, int], route: Mapping[str, Choice]) -> int:
    """FLOPs of a frame (height, width) whose every region takes this route."""
    counts = region_counts(plan.steps, size)
    return sum(
        counts[stage.regions] * graph.flops for stage in plan.stages for graph in selected(plan, stage, route)
    )


def selected(plan: Plan, stage: Stage, route: Mapping[str, Choice]) -> tuple[StageGraph, ...]:
    """The stage's graphs that run where every axis has the route's value."""
    values = {variable.name: route[variable.axis_name] for variable in plan.variables}
    return tuple(graph for graph in stage.graphs if graph.select.holds(values))


def static_plan(plan: Plan, route: Mapping[str, Choice]) -> Plan:
    """The plan of the model that takes this route everywhere: no decisions, no router, no state that is not read.

    Decisions whose value is sampled by stay; run it with the policy `Fixed(**route)` of those.
    """
    values = {variable.name: route[variable.axis_name] for variable in plan.variables}
    sampled = {step.variable for step in plan.steps if isinstance(step, Sample)}
    working = working_stages(plan)
    steps: list[Step] = []
    for step in plan.steps:
        match step:
            case Stage():
                if step.name in working:
                    graphs = (replace(g, select=ALWAYS) for g in selected(plan, step, route))
                    steps.append(replace(step, graphs=tuple(graphs)))
            case Keep():
                if step.when.holds(values):
                    steps.append(replace(step, when=ALWAYS))
            case Route():
                left = tuple(d for d in step.decisions if d.variable.name in sampled)
                if left:
                    steps.append(replace(step, decisions=left))
            case _:
                steps.append(step)
    read = {port.value for s in steps if isinstance(s, Stage) for g in s.graphs for port in g.inputs}
    kept = [step for step in steps if not isinstance(step, Keep) or step.state in read]
    return replace(plan, steps=tuple(kept))
