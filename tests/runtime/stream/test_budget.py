"""The policy on bundles, with engines' times that the test sets: routes and pictures are real, clocks are not."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeflow.export.sample import moving_picture
from edgeflow.ir.bundle.costs import Costs, save_costs
from edgeflow.ir.errors import InputError
from edgeflow.ir.plan import Stage
from edgeflow.runtime import Budget, Fixed, Session
from edgeflow.runtime.stream.budget import least_price
from edgeflow.runtime.stream.deadline import Deadline
from edgeflow.runtime.stream.trace import EngineTrace, Trace

FRAMES = (moving_picture(200, 310, 0), moving_picture(200, 310, 1))
PLENTY = 1e6


def run(session, frames=FRAMES):
    return session.run(*frames)


class Clock:
    """Times a session's calls as engines of so many milliseconds a row would take, at a load."""

    def __init__(self, session, row_ms, host_ms=1.0):
        self.load, self.host_ms = 1.0, host_ms
        self._executor = session.executor
        self._steering = self._executor._decisions._steering
        self._row_ms = {key: row_ms(loaded.graph) for key, loaded in self._executor.loaded.items()}
        costs = self._steering.costs
        costs._costs = {key: {b: self._row_ms[key] * b for b in known} for key, known in costs._costs.items()}
        self._ended = self._steering.ended
        self._steering.ended = self.ended
        self.took = []

    def ended(self, trace: Trace) -> None:
        engines = tuple(self._at(engine) for engine in trace.engines)
        total = sum(engine.ms for engine in engines) + self.host_ms * self.load
        self.took.append(total)
        self._ended(replace(trace, engines=engines, total_ms=total))

    def before(self, step) -> float:
        """Milliseconds from a frame's begin to a step of its plan."""
        done = self._executor.plan.steps[: self._executor.plan.steps.index(step)]
        graphs = [graph for stage in done if isinstance(stage, Stage) for graph in stage.graphs[:1]]
        return self.load * sum(self._row_ms[graph.key] for graph in graphs)

    def _at(self, engine: EngineTrace) -> EngineTrace:
        return replace(engine, ms=self.load * self._row_ms[engine.key] * sum(engine.batches))


def by_work(graph):
    """Milliseconds of a row: a fixed part, and its FLOPs."""
    return 0.05 + graph.flops / 2e7


@pytest.fixture(scope="module")
def untimed(tiny_bundles, tmp_path_factory):
    """Paths of bundles whose engines nobody timed: what other tests measured of them would decide their batches."""
    folder = tmp_path_factory.mktemp("untimed")
    ignored = shutil.ignore_patterns("profile")
    return {
        name: shutil.copytree(made.path, folder / name, ignore=ignored) for name, made in tiny_bundles.items()
    }


def clocked(path, budget, percentile=95.0, frames=FRAMES, monkeypatch=None):
    """A session under a budget whose calls take what `by_work` says; deciding itself takes no time."""
    session = Session(path, policy=Budget(PLENTY, percentile))
    run(session, frames)
    clock = Clock(session, by_work)
    clock._steering.deadline = Deadline(
        budget, percentile
    )  # what the first frame took on this machine is forgotten
    clock._steering.costs._host = 0.0
    decide = clock._steering.decide
    clock._steering.decide = lambda step, scores, own, _: decide(step, scores, own, clock.before(step))
    return session, clock


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["chained", "routes"])
def test_with_time_enough_the_routes_are_the_models_own(strategy, untimed):
    path = untimed[strategy]
    own, budgeted = Session(path), Session(path, policy=Budget(PLENTY))
    for frames in (FRAMES, FRAMES[::-1], FRAMES):
        mine, theirs = run(budgeted, frames), run(own, frames)
        assert mine.trace.choices == theirs.trace.choices
        assert (mine.outputs[0] == theirs.outputs[0]).all()


@pytest.mark.slow
def test_a_tighter_budget_takes_cheaper_routes_and_holds_it(untimed):
    path = untimed["chained"]
    session, clock = clocked(path, PLENTY)
    for _ in range(3):
        own = run(session)
    full, cheapest = clock.took[-1], cheapest_ms(path)
    assert cheapest < 0.7 * full
    flops = []
    for share in (0.8, 0.5, 0.2):
        budget = cheapest + share * (full - cheapest)
        session, clock = clocked(path, budget)
        for _ in range(45):
            result = run(session)
        assert (np.array(clock.took[5:]) <= budget).mean() >= 0.95
        assert clock.took[-1] > cheapest + 0.3 * share * (
            full - cheapest
        )  # and the time that there is, is used
        flops.append(result.trace.flops)
    assert own.trace.flops > flops[0] > flops[1] > flops[2]


def cheapest_ms(path):
    """What a frame takes by `by_work` on the cheapest route."""
    session, clock = clocked(path, 1e-3)
    for _ in range(4):
        run(session)
    return clock.took[-1]


@pytest.mark.slow
def test_a_load_is_answered_by_cheaper_routes_and_forgotten(untimed):
    session, clock = clocked(untimed["chained"], PLENTY)
    for _ in range(3):
        own = run(session)
    budget = 1.3 * clock.took[-1]
    session, clock = clocked(untimed["chained"], budget)
    for _ in range(12):
        assert run(session).trace.choices == own.trace.choices
    clock.load = 1.8
    loaded = [run(session) for _ in range(12)]
    took = np.array(clock.took[-12:])
    assert (took[3:] <= budget).all() and loaded[-1].trace.flops < own.trace.flops
    assert len({str(result.trace.choices) for result in loaded[4:]}) == 1  # it settles
    clock.load = 1.0
    for _ in range(300):
        last = run(session)
    assert last.trace.choices == own.trace.choices


def test_regions_lose_least_where_their_scores_say_so(untimed):
    """No tile could be raised, and another lowered, to a better sum of scores in the same time."""
    path = untimed["chained"]
    session, clock = clocked(path, PLENTY)
    for _ in range(3):
        run(session)
    session, clock = clocked(path, 0.6 * clock.took[-1])
    for _ in range(20):
        run(session)
    choices = next(iter(clock._steering._seen.values()))
    costs = np.broadcast_to(choices.costs, (len(choices.own[0]), choices.costs.shape[1]))
    worth = choices._worth(np.zeros_like(costs))
    price = clock._steering._price
    names = [d.variable.name for d in choices.group]
    taken = np.array([clock._steering.routes[name] for name in names])
    places = taken[0] * len(choices.group[1].variable.axis.values) + taken[1]
    rows = np.arange(len(places))
    paid = worth - price * costs
    assert price > 0 and np.allclose(paid[rows, places], paid.max(1))


@pytest.mark.parametrize("name", ["Patchwork", "Gated", "Levels"])
def test_every_family_with_scores_gets_cheaper(name, small_bundle):
    """Two steps of decisions, gates before every layer, and values that cost the same."""
    _, bundle = small_bundle(name, "chained")
    frames = (moving_picture(64, 80, 0),) if name != "Gated" else (moving_picture(12, 12, 0),)
    own = Session(bundle.path).run(*frames).trace
    session, clock = clocked(bundle.path, 1e-3, frames=frames)
    for _ in range(4):
        squeezed = session.run(*frames).trace
    assert squeezed.flops <= own.flops
    cheapest = clock._steering.costs.cheapest
    least = Session(bundle.path, policy=Fixed(**cheapest)).run(*frames).trace
    assert squeezed.flops == least.flops


def test_a_budget_below_the_cheapest_route_is_refused_where_engines_were_timed(untimed, tmp_path):
    path = tmp_path / "timed.edgeflow"
    shutil.copytree(untimed["chained"], path)
    session = Session(path)
    run(session)
    ms = {key: {b: 2.0 * b for b in one.graph.batches} for key, one in session.executor.loaded.items()}
    save_costs(path, Costs(session.device, ms))
    with pytest.raises(
        InputError, match=r"no route holds 3 ms on this machine: the cheapest \(.*\) takes \d+"
    ):
        run(Session(path, policy=Budget(3.0)))


def test_a_model_without_scores_is_refused(small_bundle):
    _, bundle = small_bundle("Shortcut", "chained")
    with pytest.raises(InputError, match="no decision of this model has scores"):
        Session(bundle.path, policy=Budget(33)).run(moving_picture(16, 24, 0))


def test_frames_run_one_after_the_other(untimed):
    with pytest.raises(InputError, match="leave in_flight at 1"):
        run(Session(untimed["chained"], policy=Budget(PLENTY), in_flight=2))


@given(st.floats(1e-8, 1e8), st.floats(0, 1e9))
def test_the_least_price_that_fits_is_found_from_anywhere(least, near):
    found = least_price(lambda price: price >= least, near)
    assert least <= found <= 1.2 * least


def test_nothing_and_everything_have_their_price():
    assert least_price(lambda price: True, 5.0) == 0
    assert least_price(lambda price: False, 5.0) == 1e12


def test_a_frame_that_begins_slowly_takes_cheaper_routes_at_once(untimed):
    session, clock = clocked(untimed["chained"], PLENTY)
    for _ in range(3):
        run(session)
    full = clock.took[-1]
    session, clock = clocked(untimed["chained"], 1.1 * full)
    decide = type(clock._steering).decide
    slower = [1.0]
    clock._steering.decide = lambda step, scores, own, _: decide(
        clock._steering, step, scores, own, slower[0] * clock.before(step)
    )
    for _ in range(12):
        usual = run(session)
    slower[0] = 2.0
    assert run(session).trace.flops < usual.trace.flops
    slower[0] = 1.0
    assert run(session).trace.flops == usual.trace.flops


def test_what_did_not_run_is_expected_to_take_a_little_less_each_frame(untimed):
    """So an engine that was measured in a slow moment is tried again; one that is as slow as that is soon known to be."""
    session, clock = clocked(untimed["chained"], 1e-3)
    for _ in range(4):
        trace = run(session).trace
    costs, ran = clock._steering.costs, {engine.key for engine in trace.engines}
    before = dict(costs._scale)
    run(session)
    assert {key for key, scale in costs._scale.items() if scale == 0.999 * before[key]} == before.keys() - ran
    assert before.keys() - ran and all(costs._scale[key] == pytest.approx(before[key]) for key in ran)
