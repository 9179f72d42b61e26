"""What counts as a change: on drawn runs, where what is true is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeflow.ir.errors import InputError
from edgeflow.runtime.measure.changes import Measured, Snapshot, changes, of_profile


def drawn(random, median, noise=0.05, runs=40):
    return Measured(tuple(median * np.exp(random.normal(0, noise, runs))))


def snapshot(random, medians, name="profile", **more):
    return Snapshot(name, "a machine", {engine: drawn(random, ms) for engine, ms in medians.items()}, **more)


ENGINES = {f"engine{n} x1": 2.0 + n for n in range(12)}


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_noise_alone_is_no_change(seed):
    random = np.random.default_rng(seed)
    found = changes(snapshot(random, ENGINES), snapshot(random, ENGINES))
    assert not found.regressions and {change.verdict for change in found.engines} == {"same"}
    assert found.everything is None and found.machine is None


@pytest.mark.slow
@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(1.15, 4.0))
def test_one_slow_engine_is_named_and_no_other(seed, times):
    random = np.random.default_rng(seed)
    slower = {**ENGINES, "engine3 x1": times * ENGINES["engine3 x1"]}
    found = changes(snapshot(random, ENGINES), snapshot(random, slower))
    assert [change.what for change in found.regressions] == ["engine3 x1"]
    (change,) = found.regressions
    assert change.low <= change.ratio <= change.high and change.ratio == pytest.approx(times, rel=0.1)
    back = changes(snapshot(random, slower), snapshot(random, ENGINES))
    assert not back.regressions
    assert [change.what for change in back.engines if change.verdict == "faster"] == ["engine3 x1"]


def test_a_small_change_is_none_however_sure():
    steady = Measured((2.0,) * 50)
    found = changes(Snapshot("a", "m", {"e": steady}), Snapshot("b", "m", {"e": Measured((2.05,) * 50)}))
    assert found.engines[0].verdict == "same"
    found = changes(Snapshot("a", "m", {"e": steady}), Snapshot("b", "m", {"e": Measured((2.1,) * 50)}))
    assert found.engines[0].verdict == "slower"


@pytest.mark.parametrize(
    "times, verdict", [(1.08, "same"), (1.12, "slower"), (0.95, "same"), (0.85, "faster")]
)
def test_of_medians_alone_a_tenth_counts(times, verdict):
    found = changes(
        Snapshot("a", "m", {"e": Measured((2.0,))}), Snapshot("b", "m", {"e": Measured((2.0 * times,))})
    )
    assert found.engines[0].verdict == verdict


def test_what_all_engines_share_is_said_apart():
    random = np.random.default_rng(1)
    found = changes(snapshot(random, ENGINES), snapshot(random, {n: 1.5 * ms for n, ms in ENGINES.items()}))
    assert found.everything == pytest.approx(1.5, rel=0.05) and len(found.regressions) == len(ENGINES)


def test_a_mix_that_moved_is_told_from_engines_that_did():
    random = np.random.default_rng(2)
    clips = [
        {"frame": drawn(random, ms), "flops": flops, "routes": routes, "between_ms": 1.0}
        for ms, flops, routes in (
            (10.0, 1e9, {"exit=1": 0.9, "exit=5": 0.1}),
            (20.0, 2e9, {"exit=1": 0.5, "exit=5": 0.495, "exit=2": 0.005}),
        )
    ]
    found = changes(*(snapshot(random, ENGINES, **clip) for clip in clips))
    assert [change.what for change in found.regressions] == ["frame"]
    assert found.flops == 2 and set(found.routes) == {"exit=1", "exit=5"}
    assert found.routes["exit=5"] == (0.1, 0.495)


def test_engines_that_came_and_went_are_named():
    random = np.random.default_rng(3)
    found = changes(snapshot(random, {"a": 1.0, "b": 1.0}), snapshot(random, {"b": 1.0, "c": 1.0}))
    assert (found.only_before, found.only_after) == (("a",), ("c",))
    with pytest.raises(InputError, match="old and new have no engine in common"):
        changes(snapshot(random, {"a": 1.0}, "old"), snapshot(random, {"b": 1.0}, "new"))


def test_frames_of_two_sizes_are_not_compared():
    random = np.random.default_rng(4)
    clips = [{"frame": drawn(random, 10.0), "size": size} for size in ((64, 48), (128, 96))]
    with pytest.raises(InputError, match="are of frames of 64x48 and 128x96: profile both with one --clip"):
        changes(*(snapshot(random, ENGINES, **clip) for clip in clips))


@pytest.mark.parametrize(
    "text, says",
    [
        ("{", "is not JSON"),
        ("[]", "is no profile of this edgeflow"),
        ('{"engines": []}', "is no profile of this edgeflow"),
        ('{"engines": [{"name": "a", "batch": 1, "latency": {"median_ms": 1}}]}', "write it anew"),
        ('{"engines": [{"name": "a", "batch": 1, "latency": {"samples_ms": [-1]}}]}', "is no profile"),
        ('{"engines": [{"name": "a", "batch": 1, "latency": {"samples_ms": []}}]}', "is no profile"),
    ],
)
def test_what_is_no_profile_is_refused(tmp_path, text, says):
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        of_profile(path)


def test_engines_that_are_alike_are_told_apart(tmp_path):
    engine = {"name": "conv", "batch": 1, "latency": {"samples_ms": [1.0, 1.1]}}
    device = {"name": "cpu", "threads": 1, "library": "x", "version": "1", "precision": "fp32"}
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"engines": [engine, engine], "device": device, "clip": None}))
    assert list(of_profile(path).engines) == ["conv x1", "conv x1 (2)"]
