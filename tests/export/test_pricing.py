"""Prices from rooflines, and the bounds below which no engine's price falls."""

from dataclasses import replace

import pytest

from edgeflow.export.lowering import Lowering
from edgeflow.export.plan import runs, stage
from edgeflow.export.planner import Planner
from edgeflow.flow import trace
from edgeflow.ir.costs import Roofline
from edgeflow.models.cain_sd import build
from edgeflow.runtime.backends import open_backend
from edgeflow.targets import load


@pytest.fixture(scope="module")
def cainsd(tmp_path_factory):
    """A pricer of tiny's engines by a roofline, the engines of one call, and those of several."""
    model = build("tiny").eval()
    program = trace(model)
    target = load("cpu")
    folder = tmp_path_factory.mktemp("lowered")
    lowering = Lowering(model, folder, "", (), target.deform_conv, lambda what, done, total: None)

    def variants(calls):
        return [
            variant
            for run in runs(program)
            if len(run) > 1
            for first in run
            for end in range(first + 1, run[-1] + 2)
            for variant in stage(program, first, end).variants
            if (end - first == 1) == (calls == "one")
        ]

    def pricer(roofline):
        planner = Planner(model, lowering, replace(target, roofline=roofline), (), None)
        return planner._pricer(program)

    return pricer, variants("one"), variants("several")


def test_without_timing_bounds_are_prices(cainsd):
    """One call computes while another moves, in a roofline: no sum of calls apart bounds what that saves."""
    pricer, _, fused = cainsd
    prices = pricer(Roofline(350, 10, 0.05))
    assert all(prices.bound(variant) == prices.exact(variant) for variant in fused)


@pytest.mark.parametrize("roofline", [Roofline(1e12, 10, 0.05), Roofline(350, 1e12, 0.05)])
def test_bounds_hold_where_launches_and_traffic_are_all_that_fusing_saves(cainsd, roofline):
    """As on a device that only moves, or only computes. There all that is saved is counted, no more."""
    pricer, alone, fused = cainsd
    expected = pricer(roofline)
    for variant in alone:
        expected.exact(variant)
    bounds = replace(expected, backend=open_backend("onnxruntime"), known=dict(expected.known))
    for variant in fused:
        bound, exact = bounds.bound(variant), expected.exact(variant)
        assert bound == pytest.approx(exact, rel=1e-6), [link.call.segment for link in variant.links]


def test_a_batch_not_worth_keeping_does_not_raise_the_bound(cainsd):
    pricer, alone, fused = cainsd
    expected = pricer(Roofline(350, 10, 0.0))
    known = {expected._key(variant): {1: 1.0} for variant in alone}
    bounds = replace(expected, backend=open_backend("onnxruntime"), known=known)
    variant = max(fused, key=lambda variant: len(variant.links))
    assert bounds.bound(variant)[4] < 4 * len(variant.links)
