"""Prices from rooflines, and the bounds below which no engine's price falls."""

from dataclasses import replace

import pytest
from routed_models import small
from torch import nn

from edgeflow.export.drafts import runs, stage
from edgeflow.export.lowering.graphs import Lowering
from edgeflow.export.planning.planner import Planner
from edgeflow.export.stopwatch import Stopwatch
from edgeflow.flow import RoutedModule, Tensor, trace
from edgeflow.ir.bundle.costs import Roofline
from edgeflow.ir.program import Tile
from edgeflow.ops.adabd import AdaBD
from edgeflow.runtime.backends import open_backend
from edgeflow.targets import load

LIKE_A_CPU = Roofline(350, 10, 0.05)


class Blending(RoutedModule):
    """An operator with a kernel, and an input that all calls but the last read."""

    inputs = (Tensor("x", (8, 12, 20)),)
    outputs = (Tensor("y", (8, 12, 20)),)

    def __init__(self):
        super().__init__()
        self.before, self.look, self.after = (nn.Conv2d(8, width, 3, padding=1) for width in (8, 27, 8))
        self.blend = AdaBD(8)

    def aligned(self, x):
        return self.look(x).split((18, 9), 1)

    def flow(self, f, x):
        offset, mask = f.call(self.aligned, x)
        return f.call(self.after, f.call(self.blend, x, f.call(self.before, x), offset, mask))


@pytest.fixture(scope="module", params=["Patchwork", "Blending"])
def priced(request, tmp_path_factory):
    """A function from a roofline to a pricer; the engines of stages of one call, and of several."""
    model = Blending().eval() if request.param == "Blending" else small(request.param)
    program, target = trace(model), load("cpu")
    folder = tmp_path_factory.mktemp("lowered")
    lowering = Lowering(model, folder, "", (), target.operators, lambda what, done, total: None, Stopwatch())
    lowered = lowering.lower([program])

    def pricer(roofline):
        planner = Planner(model, lowered, replace(target, roofline=roofline), (), None, None, Stopwatch())
        return planner.pricer(program, {}, set())

    alone, fused = [], []
    for run in runs(program):
        for first in run if len(run) > 1 else ():
            for end in range(first + 1, run[-1] + 2):
                (alone if end == first + 1 else fused).extend(stage(program, first, end).variants)
    return pricer, alone, fused


@pytest.mark.slow
def test_without_timing_bounds_are_prices(priced):
    """In a roofline one call may compute while another moves: what they cost apart bounds nothing."""
    pricer, _, fused = priced
    prices = pricer(LIKE_A_CPU)
    assert all(prices.bound(variant) == prices.exact(variant) for variant in fused)


@pytest.mark.parametrize(
    "roofline", [Roofline(1e12, 10, 0.05), Roofline(350, 1e12, 0.05)], ids=["move", "do"]
)
def test_bounds_hold_where_launches_and_traffic_are_all_that_fusing_saves(priced, roofline):
    """On devices that only move or only compute, bounds are what a fused engine takes without kernels."""
    pricer, alone, fused = priced
    device = pricer(roofline)
    for variant in alone:
        device.exact(variant)
    bounds = replace(device, backend=open_backend("onnxruntime"), known=dict(device.known))
    for variant in fused:
        bound, exact = bounds.bound(variant), device.exact(variant)
        assert all(0 < bound[batch] <= exact[batch] * (1 + 1e-9) for batch in exact)
        if roofline.gflops > 1e9 or not any(device.kernel_of((link,)) for link in variant.links):
            assert bound == pytest.approx(exact)


def test_a_batch_that_was_not_kept_may_take_a_little_less_than_in_proportion(priced):
    pricer, alone, fused = priced
    device = pricer(Roofline(350, 1e12, 0.0))
    known = {device._key(variant): {1: 1.0} for variant in alone}
    bounds = replace(device, backend=open_backend("onnxruntime"), known=known)
    for variant in fused:
        apart = len(variant.links)
        bound = bounds.bound(variant)
        assert all(0.9 * batch * apart < ms < batch * apart for batch, ms in bound.items() if batch > 1)


PRICED = [
    # one row alone, the engine of several, what a change of size costs it, what is kept
    (10.0, {1: 10.5, 2: 18.0, 4: 32.0, 8: 62.0}, 0.0, {1: 10.5, 2: 18.0, 4: 32.0}),
    (10.0, {1: 10.5, 2: 18.0, 4: 32.0, 8: 62.0}, 2.5, {1: 13.0, 4: 34.5, 8: 64.5}),
    (10.0, {1: 10.5, 2: 18.0, 4: 36.0, 8: 72.0}, 9.0, {1: 10.0}),
    (10.0, {1: 10.5, 2: 19.8, 4: 39.0, 8: 10.0}, 0.0, {1: 10.0}),
    (10.0, {1: 10.5, 2: 19.8, 4: 30.0, 8: 60.0}, 0.0, {1: 10.5, 4: 30.0}),
]


@pytest.mark.parametrize(("one", "several", "change", "kept"), PRICED)
def test_batches_are_kept_for_what_they_gain_in_frames(priced, monkeypatch, one, several, change, kept):
    """What gains alone must gain in turn, too; a long run that gains nothing ends the search."""

    def measured(engine, memory, inputs, outputs, batches):
        return {batch: engine[batch] + (change if len(batches) > 1 else 0.0) for batch in batches}

    monkeypatch.setattr("edgeflow.export.planning.prices.measure", measured)
    pricer, alone, _ = priced
    device = replace(pricer(LIKE_A_CPU), backend=open_backend("onnxruntime"))
    tiled = any(isinstance(operation, Tile) for operation in device.program.operations)
    assert tiled == any(device._batches(variant) != (1,) for variant in alone)
    for variant in alone:
        made = device._measured(lambda batch: {1: one} if batch == 1 else several, variant)
        assert made == ({1: one} if device._batches(variant) == (1,) else kept)


def test_an_engine_timed_again_costs_the_less_of_both(priced, monkeypatch):
    """Batches found worth running stay, also where the second timing keeps others."""
    timings = iter([{1: 10.0, 4: 30.0}, {1: 8.0, 8: 40.0}, {1: 9.0, 4: 20.0}])
    pricer, alone, _ = priced
    device = replace(pricer(LIKE_A_CPU), backend=open_backend("onnxruntime"), known={})
    monkeypatch.setattr(type(device), "_timed", lambda self, variant, batches=(): next(timings))
    variant = alone[0]
    assert device.exact(variant) == {1: 10.0, 4: 30.0}
    assert device.again(variant) == {1: 8.0, 4: 30.0} == device.exact(variant)
    assert device.again(variant) == {1: 8.0, 4: 20.0}


def test_by_the_roofline_there_is_nothing_to_time_again(priced):
    pricer, alone, _ = priced
    device = pricer(LIKE_A_CPU)
    assert all(device.again(variant) == device.exact(variant) for variant in alone)


@pytest.mark.parametrize("sizes", [(1,), (1, 2, 8)])
def test_sizes_that_are_known_are_timed_in_turn_on_one_engine(priced, monkeypatch, sizes):
    asked = []

    def measured(engine, memory, inputs, outputs, batches):
        asked.append((engine, tuple(batches)))
        return dict.fromkeys(batches, 1.0)

    monkeypatch.setattr("edgeflow.export.planning.prices.measure", measured)
    pricer, alone, _ = priced
    device = replace(pricer(LIKE_A_CPU), backend=open_backend("onnxruntime"))
    assert device._measured(lambda batch: batch, alone[0], sizes) == dict.fromkeys(sizes, 1.0)
    assert asked == [(1 if sizes == (1,) else None, sizes)]
