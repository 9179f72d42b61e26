from collections import Counter
from itertools import combinations
from math import log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from routed_models import small

from edgeflow.export.drafts import plan, runs
from edgeflow.export.planning.cuts import HALVING, HELD_BYTES, Pricing, choose
from edgeflow.export.planning.expected_routes import ExpectedRoutes, of_clip, uniform
from edgeflow.export.sample import moving_picture
from edgeflow.flow import trace
from edgeflow.ir.errors import ExportError
from edgeflow.ir.program import region_counts
from edgeflow.ir.route import assignments
from edgeflow.models.cain_sd import build
from edgeflow.runtime.stream.batching import cover


@pytest.fixture(scope="module")
def cainsd():
    return trace(build("tiny"))


def pricing(draw):
    """Prices of a call, batch and fusion drawn once each; bounds that never exceed them; weights."""
    links, gains, weights, asked = {}, {}, {}, []

    def apart(link):
        key = (link.call.segment, link.variant)
        if key not in links:
            links[key] = draw(st.floats(0.5, 8))
        return links[key]

    def bound(variant):
        if len(variant.links) == 1:  # of a stage whose other calls are skipped
            return exact(variant)
        total = sum(map(apart, variant.links)) - 0.5 * (len(variant.links) - 1)
        return {batch: max(total, 0) * batch for batch in (1, 4)}

    def exact(variant):
        asked.append(variant)
        key = tuple((link.call.segment, link.variant) for link in variant.links)
        if key not in gains:
            gains[key] = (draw(st.floats(1, 1.5)), draw(st.floats(0.6, 1)) if len(key) == 1 else 1)
        slower, batched = gains[key]
        if len(key) == 1:
            return {1: apart(variant.links[0]), 4: 4 * batched * apart(variant.links[0])}
        return {batch: ms * slower for batch, ms in bound(variant).items()}

    def weight_bytes(stage):
        for call in stage.calls:
            weights.setdefault(call.segment, draw(st.integers(1, 9_000_000)))
        return sum(weights[link.call.segment] for v in stage.variants for link in v.links)

    return Pricing(exact, bound, weight_bytes, exact), asked


def time_of(program, starts, expected, prices):
    """Of a plan, by running every frame of the expected through it."""
    total = 0.0
    for stage in plan(program, "auto", starts).stages:
        if len(stage.calls) == 1 and stage.regions == "frame":
            continue
        for frame in expected.frames:
            for variant in stage.variants:
                count = sum(
                    n for route, n in frame[stage.regions].items() if variant.select.holds(dict(route))
                )
                known = prices.exact(variant)
                total += sum(known[batch] for batch in cover(count, known)) if count else 0
    return total / len(expected.frames)


def all_cuts(program):
    (run,) = [run for run in runs(program) if len(run) > 1]
    for count in range(len(run)):
        for inner in combinations(run[1:], count):
            yield {run[0], *inner}


def assert_nothing_beats(program, expected, prices, limited=False):
    """What is chosen, against every way to cut."""

    def held(starts):
        return sum(
            prices.weight_bytes(s) for s in plan(program, "auto", starts).stages if s.regions == "tiles"
        )

    budget = 2 * min(held(starts) for starts in all_cuts(program)) if limited else None
    starts, (decision,) = choose(program, expected, prices, budget)
    fits = [cuts for cuts in all_cuts(program) if budget is None or held(cuts) <= budget]
    taken = time_of(program, starts, expected, prices)

    def price(cuts):
        halvings = log2(HELD_BYTES + held(cuts))
        return time_of(program, cuts, expected, prices) * HALVING**halvings

    assert price(starts) <= min(map(price, fits)) * (1 + 1e-9)
    assert decision.chosen.ms == pytest.approx(taken)
    assert budget is None or decision.chosen.weight_bytes <= budget


def tiles_of(program, routes):
    """A frame whose tiles take these routes, by number."""
    known = assignments(program.variables)
    counted = Counter(known[number] for number in routes)
    return ExpectedRoutes(({"tiles": counted, "frame": {known[0]: 1}},), "drawn")


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(st.data(), st.lists(st.integers(0, 14), min_size=1, max_size=9), st.booleans())
def test_no_cuts_beat_the_chosen_ones(cainsd, data, routes, limited):
    prices, _ = pricing(data.draw)
    assert_nothing_beats(cainsd, tiles_of(cainsd, routes), prices, limited)


def test_none_do_where_one_call_of_a_stage_runs_in_cheap_batches(cainsd):
    """With all its other calls skipped, an engine costs no more than the call's own: batches gain as much."""

    def fused(variant):
        links = len(variant.links)
        return {batch: batch * (links - 0.1 * (links - 1)) for batch in (1, 4)}

    def exact(variant):
        return {1: 1.0, 4: 2.4} if len(variant.links) == 1 else fused(variant)

    assert_nothing_beats(
        cainsd, tiles_of(cainsd, [7, 7, 4, 6, 3, 7]), Pricing(exact, exact, lambda stage: 1, exact)
    )


def test_only_what_could_be_best_is_priced(cainsd):
    known = assignments(cainsd.variables)
    expected = ExpectedRoutes(({"tiles": dict.fromkeys(known, 1), "frame": {known[0]: 1}},), "all")
    asked = []

    def exact(variant):
        asked.append(variant)
        return {1: 1.0 * len(variant.links)}

    never_worth_it = Pricing(exact, lambda variant: {1: 1.0 * len(variant.links)}, lambda stage: 1, exact)
    _, (decision,) = choose(cainsd, expected, never_worth_it)
    assert decision.chosen.ms == decision.chained.ms
    every = {
        variant
        for cuts in all_cuts(cainsd)
        for s in plan(cainsd, "auto", cuts).stages
        for variant in s.variants
    }
    assert len(set(asked)) < len(every) / 2


@pytest.mark.parametrize(("each", "fused"), [(1, True), (100_000_000, False)])
def test_cuts_that_hold_much_must_be_faster_by_more(cainsd, each, fused):
    """One engine a route takes 3% less time than a chain, and holds many times the weights."""

    def exact(variant):
        return {1: len(variant.links) * (0.97 if len(variant.links) == 7 else 1.0)}

    def weight_bytes(stage):
        return each * len(stage.calls) * len(stage.variants)

    starts, _ = choose(cainsd, tiles_of(cainsd, [4, 9, 14]), Pricing(exact, exact, weight_bytes, exact))
    longest = max(len(stage.calls) for stage in plan(cainsd, "auto", starts).stages)
    assert (longest == 7) == fused


def test_an_engine_that_was_timed_in_a_slow_minute_is_timed_again(cainsd):
    """The calls apart were timed while another program ran: only in turn do they show as the faster ones."""

    def slowed(variant):
        return {1: 10.0 if len(variant.links) == 1 else 1.1 * len(variant.links)}

    timed_again = []

    def again(variant):
        timed_again.append(variant)
        return {1: 1.0 if len(variant.links) == 1 else 1.1 * len(variant.links)}

    expected = tiles_of(cainsd, [4, 9, 14])
    starts, (decision,) = choose(
        cainsd, expected, Pricing(slowed, lambda v: {1: 0.1}, lambda stage: 1, again)
    )
    assert decision.chosen.starts == decision.chained.starts
    assert len(timed_again) == len(set(timed_again))
    assert decision.chosen.ms == pytest.approx(
        time_of(cainsd, starts, expected, Pricing(again, again, None, again))
    )


def test_only_stages_that_may_be_are_chosen(cainsd):
    """The cheapest engine of two calls is not taken where only those of three may be."""

    def exact(variant):
        return {1: {1: 1.0, 2: 0.1, 3: 2.0}.get(len(variant.links), 9.0)}

    expected = tiles_of(cainsd, [14, 14, 4])

    def sizes(prices):
        starts, _ = choose(cainsd, expected, prices)
        return {len(s.calls) for s in plan(cainsd, "auto", starts).stages if s.regions == "tiles"}

    assert 2 in sizes(Pricing(exact, exact, lambda stage: 1, exact))
    assert sizes(Pricing(exact, exact, lambda stage: 1, exact, lambda stage: len(stage.calls) == 3)) <= {
        1,
        3,
        7,
    }


def test_a_budget_that_nothing_fits_is_refused(cainsd):
    expected = uniform(cainsd, region_counts(cainsd.operations, (100, 150)))
    prices = Pricing(once := lambda v: {1: 1.0}, once, lambda stage: 1000, once)
    with pytest.raises(ExportError, match=r"no plan for head\.\.tail holds its weights in 500 bytes"):
        choose(cainsd, expected, prices, 500)


def test_an_assumed_mix_takes_every_route_about_alike(cainsd):
    expected = uniform(cainsd, {"frame": 1, "tiles": 30})
    counted = Counter()
    for frame in expected.frames:
        assert sum(frame["tiles"].values()) == 30 and sum(frame["frame"].values()) == 1
        counted.update(frame["tiles"])
    assert len(counted) == 15 and max(counted.values()) < 1.5 * min(counted.values())


def test_a_model_of_many_decisions_has_an_assumed_mix_too():
    program = trace(small("Gated"))
    starts, decisions = choose(
        program,
        uniform(program, {"frame": 1}),
        Pricing(once := lambda v: {1: 1.0}, lambda v: {1: 0.5 * len(v.links)}, lambda stage: 1, once),
    )
    assert plan(program, "auto", starts).stages and all(len(d.calls) > 1 for d in decisions)


def test_the_mix_of_a_clip_is_what_the_flow_decides(tiny):
    program = trace(tiny)
    frames = [moving_picture(100, 170, time) for time in range(5)]
    expected = of_clip(tiny, program, frames)
    assert len(expected.frames) == 4
    assert all(
        sum(frame["tiles"].values()) == region_counts(program.operations, (100, 170))["tiles"]
        for frame in expected.frames
    )
    assert len({route for frame in expected.frames for route in frame["tiles"]}) > 2
