import numpy as np
import pytest

from edgeflow.export.sample import moving_picture
from edgeflow.ir.plan.routes import dearest_route, static_plan, working_stages
from edgeflow.ir.program import Route
from edgeflow.runtime import Fixed, Session
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.session import select_plan
from edgeflow.runtime.stream.execute import Executor
from edgeflow.runtime.stream.loading import load_graphs

STRATEGIES = ("chained", "routes")
ROUTES = {
    "Shortcut": {"mode": "key"},
    "Frames": {"frames": 16},
    "Gated": {"stride": 1, "channels": 1.0, "stride.1": 1, "channels.1": 1.0},
    "Patchwork": {"level": 3, "sharp": True},
}


def inputs_of(name, random):
    """(height, width) and the inputs of one call."""
    if name == "Frames":
        return (0, 0), [random.random((11, 3, 6, 6), dtype=np.float32)]
    size = {"Shortcut": (16, 24), "Gated": (12, 12)}.get(name, (50, 70))
    return size, [moving_picture(*size, 0)]


def execute(bundle, plan, policy, size, inputs):
    backend = open_backend("onnxruntime")
    return Executor(plan, load_graphs(bundle, plan, backend, size), backend.memory, policy, size).run(inputs)


def parts(compiled, size):
    manifest = compiled.manifest
    plan = select_plan(manifest.plans, *size)
    return plan, dearest_route(plan, size)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", ROUTES)
def test_the_static_plan_computes_what_its_route_computes(name, strategy, small_bundle, random):
    _, compiled = small_bundle(name, strategy)
    size, inputs = inputs_of(name, random)
    plan, route = parts(compiled, size)
    assert route == ROUTES[name]
    session = Session(compiled.path, policy=Fixed(**route))
    wanted = session.run(*inputs)
    static = static_plan(plan, route)
    left = {v.name.split(".")[0] for v in static.variables}
    policy = Fixed(**{axis: value for axis, value in route.items() if axis in left})
    made = execute(session.bundle, static, policy, size, inputs)
    for output, expected in zip(made.outputs, wanted.outputs, strict=True):
        np.testing.assert_array_equal(output, expected)
    deciding = {stage.name for stage in plan.stages} - working_stages(plan)
    assert {e.stage for e in made.trace.engines} == {e.stage for e in wanted.trace.engines} - deciding
    assert left == ({"frames"} if name == "Frames" else set())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_router_is_what_only_decisions_read(small_bundle, strategy):
    plan, route = parts(small_bundle("Patchwork", strategy)[1], (50, 70))
    assert {stage.name for stage in plan.stages} - working_stages(plan) == {"look"}
    static = static_plan(plan, route)
    assert not [step for step in static.steps if isinstance(step, Route)]
    assert all(len(stage.graphs) == 1 for stage in static.stages)
    assert "look" not in {stage.name for stage in static.stages}


def test_scores_that_the_work_reads_are_not_the_routers(small_bundle):
    _, compiled = small_bundle("Gated", "chained")
    (plan,) = compiled.manifest.plans.values()
    assert working_stages(plan) == {stage.name for stage in plan.stages}
