from dataclasses import replace

import numpy as np
import pytest
import torch
from routed_models import Gated, GatedBlock

from edgeflow.export.compile import compile_model
from edgeflow.export.planning import planner
from edgeflow.flow.eager import Eager
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.bundle import open_bundle
from edgeflow.ir.plan.plan_json import plan_from_json, plan_to_json
from edgeflow.runtime import Budget, Fixed, Session
from edgeflow.runtime.check import check
from edgeflow.targets import load

pytestmark = pytest.mark.slow

LAYERS = 4
FRAME = np.full((12, 12, 3), 90, np.uint8)
LIBRARIES = {"onnxruntime": "cpu", "openvino": "openvino-cpu"}


@pytest.fixture(scope="module")
def gated():
    """Gated layers: two decisions before each."""
    torch.manual_seed(0)
    model = Gated().eval()
    model.blocks.extend(GatedBlock(8) for _ in range(LAYERS - 2))
    for parameter in model.parameters():
        parameter.data.mul_(2)
    return model.eval()


@pytest.fixture(scope="module", params=LIBRARIES)
def bundle(request, gated, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            planner, "_apart", lambda *of: float("inf")
        )  # whether chains pay here is not what is tested
        path = tmp_path_factory.mktemp(request.param) / "gated.edgeflow"
        target = load(LIBRARIES[request.param])
        compile_model(gated, target, path, reference={}, strategy="routes", frames=[FRAME] * 8)
    return open_bundle(path)


def test_a_clip_gives_the_plan_a_chain_of_all_that_it_decides(bundle):
    (plan,) = bundle.manifest.plans.values()
    (chain,) = plan.chains
    assert (chain.first, chain.end) == (0, len(plan.steps)) and len(plan.stages) == LAYERS + 1
    assert {name for graph in chain.graphs for name, _ in graph.variant} == {v.name for v in plan.variables}
    assert plan_from_json(plan_to_json(plan)) == plan
    report = check(bundle)
    assert report.passed
    assert {graph.key for graph in chain.graphs} <= {each.graph for each in report.graphs}


def test_a_call_like_those_of_the_clip_is_one_engine(bundle, gated):
    session = Session(bundle)
    result, eager = session.run(FRAME), Eager(gated)(to_tensor(FRAME))
    np.testing.assert_allclose(result.outputs[0], eager.outputs[0][0].numpy(), rtol=1e-4, atol=1e-4)
    assert result.trace.choices == eager.routes
    assert [chain.left for chain in result.trace.chains] == [None]
    assert len(result.trace.engines) == 1


@pytest.mark.parametrize("layer", range(LAYERS))
@pytest.mark.parametrize("axis", ["stride", "channels"])
def test_a_route_that_leaves_the_chain_at_any_layer_is_exact(bundle, gated, axis, layer):
    (chain,) = next(iter(bundle.manifest.plans.values())).chains
    name = f"{axis}.{layer}" if layer else axis
    taken = dict(chain.graphs[0].variant)[name]
    other = next(value for value in getattr(gated, axis).values if value != taken)
    result = Session(bundle, policy=Fixed(**{name: other})).run(FRAME)
    eager = Eager(gated, {name: other})(to_tensor(FRAME))
    np.testing.assert_allclose(result.outputs[0], eager.outputs[0][0].numpy(), rtol=1e-4, atol=1e-4)
    assert result.trace.choices == eager.routes
    (missed,) = result.trace.chains
    assert missed.left == (f"stride.{layer}" if layer else "stride")  # a layer's decisions are one step
    assert len(result.trace.engines) == 1 + LAYERS + 1


def test_what_the_call_before_took_is_guessed(bundle):
    """No chain is run on a route that it was not built for; a reset lets the likeliest be tried again."""
    (chain,) = next(iter(bundle.manifest.plans.values())).chains
    other = {1: 2, 2: 1}[dict(chain.graphs[0].variant)["stride.1"]]
    session = Session(bundle, policy=Fixed(**{"stride.1": other}))
    assert len(session.run(FRAME).trace.chains) == 1
    assert session.run(FRAME).trace.chains == ()
    session.reset()
    assert len(session.run(FRAME).trace.chains) == 1


def test_without_its_chains_a_plan_computes_the_same(bundle):
    from edgeflow.runtime.backends import open_backend
    from edgeflow.runtime.stream.execute import Executor
    from edgeflow.runtime.stream.loading import load_graphs
    from edgeflow.runtime.stream.policy import Own

    (plan,) = bundle.manifest.plans.values()
    backend = open_backend(bundle.manifest.target["library"])
    results = []
    for own in (plan, replace(plan, chains=())):
        loaded = load_graphs(bundle, own, backend, (12, 12))
        results.append(Executor(own, loaded, backend.memory, Own(), (12, 12)).run([FRAME]))
    np.testing.assert_allclose(results[0].outputs[0], results[1].outputs[0], rtol=1e-5, atol=1e-5)
    assert not results[1].trace.chains


def test_a_budget_expects_a_chain_where_it_would_run_and_steps_elsewhere(bundle):
    session = Session(bundle, policy=Budget(1e6))
    for _ in range(3):
        result = session.run(FRAME)
    assert result.trace.chains[0].left is None
    (plan,) = bundle.manifest.plans.values()
    steering = session.executor._decisions._steering
    costs, own = steering.costs, dict(steering.routes)
    chained = {graph.key for graph in plan.chains[0].graphs}
    other = {name: len(costs.axes[name].values) - 1 - place for name, place in own.items()}
    expected, elsewhere = costs.frame(own), costs.frame(other)
    for key in chained:
        costs._costs[key] = {1: 1e6}
    assert costs.frame(own) > 1e5 > expected and costs.frame(other) == pytest.approx(elsewhere)
