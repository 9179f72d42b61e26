import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeflow.export.sample import moving_picture
from edgeflow.flow import cost
from edgeflow.ir.errors import FlowError, InputError
from edgeflow.ir.route import Axis, Variable
from edgeflow.runtime import Fixed, Mix, Session

SCALE, EXIT = Variable("scale", Axis(1, 2, 4)), Variable("exit", Axis(1, 2, 3, 4, 5))
MIX = Mix(((0.5, {"scale": 1, "exit": 1}), (0.3, {"scale": 2, "exit": 5}), (0.2, {"scale": 4, "exit": 3})))
FRAMES = (moving_picture(200, 310, 0), moving_picture(200, 310, 1))


def own(count):
    return np.zeros(count, np.intp)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 200))
def test_every_share_gets_its_regions_to_less_than_one(weights, count):
    axis = Axis(*range(len(weights)))
    mix = Mix([(weight / sum(weights), {"exit": i}) for i, weight in enumerate(weights)])
    chosen = mix.choose(Variable("exit", axis), own(count))
    counts = np.bincount(chosen, minlength=len(weights))
    assert counts.sum() == count
    assert np.abs(counts - np.array(weights) / sum(weights) * count).max() < 1


def test_rounding_favours_the_largest_remainder():
    mix = Mix(((0.55, {"exit": 1}), (0.25, {"exit": 2}), (0.2, {"exit": 3})))
    assert np.bincount(mix.choose(EXIT, own(6))).tolist() == [3, 2, 1]  # 3.3, 1.5 and 1.2


def test_the_variables_of_a_region_agree_on_its_route():
    routes = zip(MIX.choose(SCALE, own(30)).tolist(), MIX.choose(EXIT, own(30)).tolist(), strict=True)
    assert sorted(set(routes)) == [(0, 0), (1, 4), (2, 2)]


def test_it_does_not_depend_on_what_the_model_chose():
    assert (MIX.choose(EXIT, own(30)) == MIX.choose(EXIT, own(30) + 3)).all()


@pytest.mark.parametrize("columns", [6, 8, 9])
def test_every_share_is_scattered_over_the_frame(columns):
    chosen = MIX.choose(SCALE, own(5 * columns)).reshape(5, columns)
    for route in range(3):
        rows, places = np.nonzero(chosen == route)
        assert len(set(rows)) >= 4 and len(set(places)) >= 3


def test_the_model_decides_axes_that_a_route_does_not_name():
    mix = Mix(((0.5, {"exit": 1}), (0.5, {"scale": 2})))
    exits, scales = mix.choose(EXIT, own(10) + 3), mix.choose(SCALE, own(10) + 2)
    assert sorted(zip(exits.tolist(), scales.tolist(), strict=True)) == [(0, 2)] * 5 + [(3, 1)] * 5


@pytest.mark.parametrize("shares", [(), (0.5, 0.4), (0.6, 0.6), (1.5, -0.5), (1.0, 0.0)])
def test_shares_are_positive_and_sum_to_one(shares):
    with pytest.raises(InputError, match="shares of a mix are positive and sum to 1, got"):
        Mix([(share, {"exit": 1}) for share in shares])


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["chained", "routes"])
def test_a_session_runs_the_mix_frame_after_frame(strategy, tiny, tiny_bundles):
    session = Session(tiny_bundles[strategy].path, policy=MIX)
    first, second = session.run(*FRAMES), session.run(*FRAMES[::-1])
    routes = [tuple(region.route.values()) for region in first.trace.regions]
    assert {route: routes.count(route) for route in routes} == {(1, 1): 12, (2, 5): 7, (4, 3): 5}
    assert [region.route for region in second.trace.regions] == [r.route for r in first.trace.regions]
    counted = cost(tiny, {"height": FRAMES[0].shape[0], "width": FRAMES[0].shape[1]})
    tiles = sum(counted.flops(region.route, "tiles") for region in first.trace.regions)
    useful = sum(engine.flops * engine.regions for engine in first.trace.engines)
    assert useful == pytest.approx(tiles + counted.flops({}, "frame"), rel=0.005)  # sides are rounded up


def test_tiles_of_a_mix_equal_those_of_its_routes(tiny_bundles):
    path = tiny_bundles["chained"].path
    mixed = Session(path, policy=MIX).run(*FRAMES)
    for values in ({"scale": 1, "exit": 1}, {"scale": 2, "exit": 5}, {"scale": 4, "exit": 3}):
        alone = Session(path, policy=Fixed(**values))(*FRAMES)
        for region in mixed.trace.regions:
            if region.route == values:
                patch = np.s_[region.top : region.bottom, region.left : region.right]
                np.testing.assert_array_equal(mixed.outputs[0][patch], alone[patch])


def test_steps_after_the_first_give_a_region_the_same_route(small_bundle):
    _, compiled = small_bundle("Patchwork", "chained")
    axes = {v.name: v.axis for v in compiled.manifest.plans["landscape"].variables}
    (level, levels), (sharp, sharps) = axes.items()
    ends = [{level: levels.values[i], sharp: sharps.values[i]} for i in (0, -1)]
    trace = (
        Session(compiled.path, policy=Mix([(0.5, ends[0]), (0.5, ends[1])]))
        .run(moving_picture(50, 70, 0))
        .trace
    )
    routes = [region.route for region in trace.regions]
    assert all(route in ends for route in routes) and ends[0] in routes and ends[1] in routes


def test_a_mix_names_axes_and_values_that_exist(tiny_bundles):
    path = tiny_bundles["chained"].path
    with pytest.raises(InputError, match="no axis 'depth' to fix: the bundle has scale, exit"):
        Session(path, policy=Mix([(1.0, {"depth": 3})]))(*FRAMES)
    with pytest.raises(FlowError, match="9 is not a value of the axis"):
        Session(path, policy=Mix([(1.0, {"exit": 9})]))(*FRAMES)
