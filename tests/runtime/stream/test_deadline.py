"""The controller, on simulated machines: what a frame takes is what it was expected to, times a factor that the test sets."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeflow.ir.errors import InputError
from edgeflow.runtime.stream.deadline import RECENT, WINDOW, Deadline

BUDGET, CHEAP, DEAR = 33.0, 5.0, 40.0
"""Milliseconds: the deadline, the cheapest route and the model's own, on a machine of factor 1."""


def simulated(
    percentile: float, load: Callable[[int], float], noise: float, frames: int, seed: int = 0
) -> np.ndarray:
    """Per frame: expected and real milliseconds, and whether the cheapest route would have held the deadline."""
    random, deadline = np.random.default_rng(seed), Deadline(BUDGET, percentile)
    rows = []
    for frame in range(frames):
        expected = float(np.clip(deadline.left(), CHEAP, DEAR))
        factor = load(frame) * float(np.exp(random.normal(0, noise)))
        deadline.observe(expected, expected * factor)
        rows.append((expected, expected * factor, CHEAP * factor <= BUDGET))
    return np.array(rows)


def held(run: np.ndarray) -> float:
    """Share of the frames within the deadline, of those that any route could have held."""
    possible = run[run[:, 2] > 0]
    return float((possible[:, 1] <= BUDGET).mean())


@pytest.mark.slow
@settings(max_examples=25)
@given(
    st.sampled_from((90.0, 95.0, 99.0)),
    st.floats(0.0, 0.3),
    st.floats(0.5, 3.0),
    st.integers(0, 1000),
)
def test_steady_noise_is_held_as_often_as_asked(percentile, noise, load, seed):
    run = simulated(percentile, lambda frame: load, noise, 1500, seed)
    assert held(run[20:]) >= percentile / 100 - 0.02


@settings(max_examples=25)
@given(st.floats(0.0, 0.15), st.floats(1.3, 3.0), st.integers(0, 1000))
def test_a_load_is_met_within_a_few_frames_and_kept(noise, load, seed):
    run = simulated(99, lambda frame: load if frame >= 400 else 1.0, noise, 1200, seed)
    late = run[:, 1] > BUDGET
    assert late[400:410].sum() <= RECENT + 2
    assert late[410:].mean() <= 0.02


@pytest.mark.slow
@settings(max_examples=25)
@given(st.floats(1.2, 3.0), st.integers(5, 120), st.integers(0, 1000))
def test_bursts_of_load_are_learnt(load, length, seed):
    run = simulated(95, lambda frame: load if frame // length % 2 else 1.0, 0.05, 2000, seed)
    assert held(run[2 * length :]) >= 0.93


def test_throttling_is_followed():
    run = simulated(95, lambda frame: 1 + min(max(frame - 200, 0) / 400, 1.0), 0.03, 1200)
    assert held(run) >= 0.93


def test_without_noise_what_it_gives_never_swings():
    run = simulated(95, lambda frame: 1.6, 0.0, 300)
    assert np.ptp(run[2:, 0]) == pytest.approx(0, abs=1e-9)


def test_after_a_load_the_models_own_routes_come_back():
    run = simulated(95, lambda frame: 2.0 if 300 <= frame < 600 else 0.7, 0.02, 600 + WINDOW + 10)
    assert run[299, 0] == DEAR and run[590, 0] < 17 and run[-1, 0] == DEAR
    given = run[600:, 0]
    assert (np.diff(given) >= -0.5).all()  # on the way back it only rises: it does not swing


def test_one_slow_frame_changes_nothing():
    run = simulated(95, lambda frame: 6.0 if frame == 200 else 1.0, 0.02, 300)
    assert run[201:, 0].min() > 0.95 * run[150:200, 0].min()


def test_a_frame_that_began_slowly_is_given_less():
    deadline = Deadline(BUDGET, 95)
    deadline.observe(10, 20)
    assert deadline.left(0, 4.0) == pytest.approx(33 / 4) and deadline.left(0, 1.0) == deadline.left()


def test_time_that_is_gone_is_not_given_twice():
    deadline = Deadline(BUDGET, 95)
    deadline.observe(10, 20)
    assert deadline.left(13) == pytest.approx(deadline.left() * 20 / 33)


@pytest.mark.parametrize(
    "milliseconds, percentile", [(0, 95), (-1, 95), (float("inf"), 95), (33, 100), (33, 10)]
)
def test_no_time_and_no_percentile_are_refused(milliseconds, percentile):
    with pytest.raises(InputError, match=r"budget is more than 0|for 50 to less than 100 percent"):
        Deadline(milliseconds, percentile)
