"""The latest calls of a stream."""

from itertools import count
from types import SimpleNamespace

import pytest

from edgeflow.runtime.measure.recent import CALLS, Recent
from edgeflow.runtime.measure.sensors import Reading


def call(ms, **choices):
    return SimpleNamespace(total_ms=ms, engines_ms=ms / 2, flops=2e9, choices=choices)


def test_rate_times_routes_and_power():
    seconds, joules = count(0, 1), count(0, 30)

    def sensors():
        return Reading({"p": float(next(joules))}, {"p": 1e6}, {}, {"z": 55.0}, {}, {})

    recent = Recent(25, sensors, lambda: float(next(seconds)))
    assert recent.now() is None
    for ms in (10, 20, 30):
        recent.note(call(ms, way=["half", "half", "full", "half"]))
    now = recent.now()
    assert now.calls == 3 and now.ms == (10, 20, 30)
    assert (now.median_ms, now.max_ms, now.engines_ms, now.gflops) == (20, 30, 10, 2)
    assert now.within == pytest.approx(2 / 3) and now.routes == {"way": {"half": 0.75, "full": 0.25}}
    assert now.fps == pytest.approx(3 / 2.01) and now.resident > 0
    assert set(now.watts) == {"p"} and now.watts["p"] > 0 and now.celsius == 55


def test_only_the_latest_count():
    recent = Recent()
    for number in range(CALLS + 50):
        recent.note(call(float(number)))
    now = recent.now()
    assert now.calls == CALLS + 50 and len(now.ms) == CALLS and now.ms[0] == 50 and now.within is None
