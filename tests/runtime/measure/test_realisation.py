import tempfile
from dataclasses import replace

import pytest
from kept_bundles import compile_kept
from torch import nn, sigmoid

from edgeflow.export.sample import moving_picture
from edgeflow.flow import Image, RoutedModule, cost
from edgeflow.ir.errors import InputError
from edgeflow.runtime import Session, open_bundle
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.measure.realisation import WARMUP, compare, usual
from edgeflow.runtime.session import select_plan
from edgeflow.runtime.stream.execute import Executor
from edgeflow.runtime.stream.loading import load_graphs
from edgeflow.runtime.stream.policy import Own
from edgeflow.runtime.stream.trace import EngineTrace, Trace
from edgeflow.targets import load

LIBRARIES = ("onnxruntime", "openvino")
SIZE = (50, 70)
CONVOLUTION = {"onnxruntime": "Conv", "openvino": "Convolution"}


class Painted(RoutedModule):
    """A frame through one convolution: a full static model that is faster than any tiles."""

    inputs = (Image("frame"),)
    outputs = (Image("picture"),)

    def __init__(self):
        super().__init__()
        self.paint = nn.Conv2d(3, 3, 3, 1, 1)

    def flow(self, f, frame):
        return f.call(self.draw, frame)

    def draw(self, frame):
        return sigmoid(self.paint(frame))


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    """Its bundles for frames of one size and of any."""
    folder = tmp_path_factory.mktemp("painted")
    sizes = {"one": [SIZE], "any": []}
    for name, own in sizes.items():
        compile_kept(Painted().eval(), load("cpu"), folder / f"{name}.edgeflow", reference={}, sizes=own)
    return {name: open_bundle(folder / f"{name}.edgeflow") for name in sizes}


def frames(count, size=SIZE):
    return [(moving_picture(*size, t),) for t in range(count)]


@pytest.fixture(scope="module")
def patchwork(small_bundle):
    """A bundle that tiles, routes and routes again."""
    return open_bundle(small_bundle("Patchwork", "chained")[1].path)


@pytest.mark.parametrize("library", LIBRARIES)
def test_operators_take_part_of_their_engines_time(library, patchwork, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    plan = select_plan(patchwork.manifest.plans, *SIZE)
    backend = open_backend(library, timed=True)
    executor = Executor(plan, load_graphs(patchwork, plan, backend, SIZE), backend.memory, Own(), SIZE)
    traces = [executor.run(call).trace for call in frames(3)]
    engines = {loaded.graph.graph: loaded.engine for loaded in executor.loaded.values()}
    for name in {engine.graph for engine in traces[0].engines}:
        spent = sum(engine.ms for trace in traces for engine in trace.engines if engine.graph == name)
        operators = {o.kind: o.ms for o in engines[name].operators()}
        assert 0 < sum(operators.values()) <= spent
        assert operators[CONVOLUTION[library]] > 0
    for loaded in executor.loaded.values():
        loaded.engine.operators()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("library", LIBRARIES)
def test_engines_of_a_session_time_no_operators(library, patchwork):
    session = Session(patchwork, library=library)
    session.run(*frames(1)[0])
    assert all(loaded.engine.operators() == () for loaded in session.executor.loaded.values())


def test_spans_lie_in_order_within_the_call(patchwork):
    trace = Session(patchwork).run(*frames(1)[0]).trace
    ends = 0.0
    for span in trace.spans:
        assert span.start_ms >= ends and span.ms >= 0
        ends = span.start_ms + span.ms
    assert ends <= trace.total_ms
    assert trace.spent("engine") == pytest.approx(trace.engines_ms)
    assert {span.kind for span in trace.spans} == {"engine", "gather", "cut", "stitch"}


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_waterfall_of_a_routed_bundle(library, small_bundle, patchwork):
    model, _ = small_bundle("Patchwork", "chained")
    compared = compare(patchwork, frames(WARMUP + 3), library=library)
    traces, made = compared.routed, compared.waterfall
    assert len(traces) == len(compared.full) == 3
    assert made.full == "the dearest route of every tile, level=3 sharp=True"
    routed, full = made.routed_cost, made.full_cost
    assert sum(step.ms for step in made.steps) == pytest.approx(routed.spent.total)
    totals = [trace.total_ms for trace in traces]
    assert min(totals) <= routed.spent.total <= max(totals)
    assert full.work.router == full.spent.router == 0 < routed.spent.router
    parts = (routed.spent, full.spent)
    assert all(min(s.convolutions, s.operators, s.batches, s.tiles, s.rest) > 0 for s in parts)
    assert min(routed.spent.launches, full.spent.launches) >= -1e-9
    counted = cost(model)
    assert routed.work.router == counted.flops({}, "frame")
    tiles = len(traces[0].regions)
    dearest = tiles * counted.flops({"level": 3, "sharp": True}, "tiles")
    assert full.work.useful + full.work.halo == pytest.approx(dearest)
    # Every tile runs the same engines, so the patches' share of the FLOPs is that of the pixels.
    assert full.work.useful / dearest == pytest.approx(SIZE[0] * SIZE[1] / (tiles * 16**2))
    flops = [trace.flops for trace in traces]
    assert min(flops) <= routed.work.total <= max(flops)


@pytest.mark.timed
def test_the_faster_full_static_model_is_taken(small_bundle, painted):
    _, compiled = small_bundle("Levels", "chained")
    bundle = open_bundle(compiled.path)
    own = compare(bundle, frames(WARMUP + 15), library="onnxruntime").waterfall
    other = compare(bundle, frames(WARMUP + 15), library="onnxruntime", static=painted["one"]).waterfall
    assert own.full.startswith("the dearest route of every tile, level=") and other.full == "one.edgeflow"
    assert other.full_cost.work.useful == 2 * 27 * 3 * SIZE[0] * SIZE[1]
    assert other.full_cost.work.halo == other.full_cost.spent.tiles == 0


def test_a_static_model_for_any_size_is_counted_in_proportion_to_its_frames(painted):
    bundle = painted["any"]
    found = compare(bundle, frames(WARMUP + 2), library="onnxruntime", static=bundle).waterfall
    assert found.full_cost.work.useful == found.routed_cost.work.total == 2 * 27 * 3 * SIZE[0] * SIZE[1]


def test_what_cannot_be_the_full_static_model(small_bundle, painted):
    _, compiled = small_bundle("Levels", "chained")
    bundle = open_bundle(compiled.path)
    calls = frames(WARMUP + 1)
    with pytest.raises(InputError, match="decides level: give the bundle of a model without decisions"):
        compare(bundle, calls, library="onnxruntime", static=bundle)
    with pytest.raises(InputError, match="this bundle is for 70x50 frames, got 80x60"):
        compare(bundle, frames(3, (60, 80)), library="onnxruntime", static=painted["one"])
    with pytest.raises(InputError, match="the clip has 2 calls, 2 of them warm up"):
        compare(bundle, calls[:WARMUP], library="onnxruntime")


def frame(graph, ms, rows=1):
    engine = EngineTrace("stage", graph, graph, rows, (rows,), ms, 10, 1.0)
    return Trace((), {}, (engine,), 10 * rows, ms + 1, 0, ())


def test_disturbed_frames_go_and_frames_of_every_route_stay():
    calm = [frame("cheap", 2.0 + 0.01 * i) for i in range(6)] + [
        frame("dear", 90.0 + 0.01 * i) for i in range(4)
    ]
    disturbed = [frame("cheap", 7.0), frame("dear", 300.0), frame("dear", 200.0, rows=2)]
    kept = usual([*calm, *disturbed])
    assert not [trace for trace in kept if trace in disturbed[:2]]
    assert {trace.engines[0].graph for trace in kept} == {"cheap", "dear"}
    assert len(kept) == 7
    assert usual([replace(calm[0])]) == [calm[0]]
