"""Flows that decide often: what their routes are multiplied out to is never listed."""

import numpy as np
import pytest
import torch
from routed_models import Gated, GatedBlock
from torch import nn

from edgeflow.export.drafts import plan
from edgeflow.export.pack.golden import GoldenMaker, combined
from edgeflow.flow import Axis, Image, RoutedModule, Tensor, Training, cost, trace
from edgeflow.ir.errors import FlowError, InputError
from edgeflow.ir.plan import Plan, Stage, StageGraph
from edgeflow.ir.plan.route_shares import MOST_WHOLE, shares
from edgeflow.ir.plan.routes import dearest_route
from edgeflow.ir.program import Route
from edgeflow.ir.route import Variable
from edgeflow.runtime import Fixed
from edgeflow.runtime.stream.policy import Rules

LAYERS = 16


@pytest.fixture(scope="module")
def deep():
    """4^16 routes."""
    torch.manual_seed(0)
    model = Gated().eval()
    model.blocks.extend(GatedBlock(8) for _ in range(LAYERS - 2))
    return model.eval()


class Growing(RoutedModule):
    """Every layer doubles or keeps the channels, and nothing lets routes meet again."""

    inputs = (Image("frame", 8, 8),)
    outputs = (Tensor("scores", (1,)),)
    width = Axis(1, 2)

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Widen() for _ in range(12))

    def flow(self, f, frame):
        x = frame
        for layer in self.layers:
            route = f.route(x, width=f.call(layer.score, frame))
            x = f.call(layer, x, width=route.width)
        return f.call(self.leave, x)

    def leave(self, x):
        return x.mean((1, 2, 3)).unsqueeze(1)


class Widen(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def score(self, frame):
        return frame.mean((2, 3))[:, :2]

    def forward(self, x, width):
        return torch.cat([x, self.scale * x[:, : width - 1]], 1)


def test_a_stage_has_the_variants_of_its_own_layer(deep):
    program = trace(deep)
    for strategy in ("chained", "routes"):
        stages = plan(program, strategy).stages
        assert max(len(stage.variants) for stage in stages) == 4


def test_goldens_of_all_layers_are_made_on_four_routes(deep):
    program = trace(deep)
    stages = plan(program, "routes").stages
    variants = [variant for stage in stages for variant in stage.variants]
    routes = combined([variant.variant for variant in variants])
    assert len(routes) == 4
    frame = np.full((12, 12, 3), 90, np.uint8)
    maker = GoldenMaker(deep, program, [[frame], [frame]], routes)
    made = [maker.of(variant) for variant in variants]
    assert len(made) == 4 * LAYERS + 1 and len(maker._runs) == 4


def test_a_table_of_all_routes_is_refused_and_one_route_is_counted(deep):
    counted = cost(deep)
    with pytest.raises(FlowError, match="4294967296 routes over 32 decisions are too many"):
        counted.table("frame")
    full = {variable.name: variable.axis.values[-1] for variable in counted.variables}
    assert counted.flops(full, "frame") > counted.flops({**full, "stride.7": 2}, "frame")


@pytest.mark.slow
@pytest.mark.parametrize("run", [trace, lambda model: Training(model)(torch.rand(2, 3, 8, 8))])
def test_routes_that_never_meet_again_are_refused_by_name(run):
    with pytest.raises(
        FlowError, match=r"segment layers\.1\d? has 2048 variants.*width, width\.1, .*one shape"
    ):
        run(Growing())


def test_the_dearest_route_of_many_decisions_is_found_layer_by_layer(deep):
    program = trace(deep)
    steps = []
    for number, step in enumerate(plan(program, "routes").steps):
        if isinstance(step, Route):
            steps.append(step)
            continue
        graphs = [
            StageGraph(v.select, v.variant, f"{number}.{i}", (7 * i + number) % 5, (1,), "", (), ())
            for i, v in enumerate(step.variants)
        ]
        steps.append(Stage(step.name, step.regions, (), tuple(graphs), ()))
    whole = Plan("routes", (), (), (), (), (), tuple(steps))
    route = dearest_route(whole, (0, 0))
    assert len(route) == 2 * LAYERS
    for stage in whole.stages:
        (chosen,) = (graph for graph in stage.graphs if graph.select.holds(route))
        assert chosen.flops == max(graph.flops for graph in stage.graphs)


def test_many_routes_are_told_decision_by_decision():
    rng = np.random.default_rng(0)
    routes = [{f"stride.{i}": int(rng.integers(1, 3)) for i in range(8)} for _ in range(100)]
    told = shares(routes)
    assert len(told) == 16 and told["stride.3=1"] + told["stride.3=2"] == pytest.approx(1)
    assert len(shares(routes[:MOST_WHOLE])) > 16


def test_a_single_decision_is_steered_by_its_own_name():
    axis = Axis(1, 2)
    axes = {"stride": axis, "stride.1": axis}
    policy = Fixed(stride=2, **{"stride.1": 1})
    policy.check(axes)
    own = np.zeros(1, np.intp)
    assert policy.choose(Variable("stride", axis), own).tolist() == [1]
    assert policy.choose(Variable("stride.1", axis), own).tolist() == [0]
    with pytest.raises(InputError, match=r"no axis 'stride\.2'"):
        Fixed(**{"stride.2": 1}).check(axes)
    with pytest.raises(InputError, match=r"no axis 'stride\.2'"):
        Rules(**{"stride.2": None}).check(axes)
