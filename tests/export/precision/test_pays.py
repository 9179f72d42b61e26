"""Engines stay in float where a lower precision is not faster here."""

from __future__ import annotations

from time import perf_counter

import pytest
from openvino_here import HAS_BF16
from uneven_model import Uneven

from edgeflow.export.compile import compile_model
from edgeflow.export.precision import pays
from edgeflow.export.sample import moving_picture
from edgeflow.ir.bundle.layer_errors import load_layers
from edgeflow.ir.plan import Port
from edgeflow.runtime import open_bundle
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.check import check
from edgeflow.targets import load

PORTS = [Port("x", "x", (3, 4), "float32")], [Port("y", "y", (5,), "float32")]
FRAMES = [moving_picture(16, 24, time) for time in range(4)]


class Busy:
    """An engine that takes so many milliseconds."""

    def __init__(self, ms):
        self.ms = ms

    def run(self, inputs, outputs):
        end = perf_counter() + self.ms / 1e3
        while perf_counter() < end:
            pass


@pytest.mark.timed
def test_the_gain_is_how_many_times_as_fast_the_second_is():
    gain = pays.gain_of((Busy(3.0), Busy(1.5)), open_backend("onnxruntime"), *PORTS, 2)
    assert 1.7 < gain < 2.3


@pytest.mark.parametrize(
    ("gain", "least", "stays"), [(1.02, 1.02, False), (1.01, 1.02, True), (0.5, 1.02, True)]
)
def test_what_is_not_faster_by_that_much_says_so(monkeypatch, gain, least, stays):
    monkeypatch.setattr(pays, "LEAST_GAIN", least)
    note = pays.note_on("int8", gain)
    assert note == (f"int8 is {gain:.2f} times as fast as fp32 here, 1.02 are asked for" if stays else "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "precision"),
    [("cpu", "int8"), ("openvino-cpu", "int8"), *([("openvino-cpu", "bf16")] if HAS_BF16 else [])],
)
def test_an_engine_that_does_not_gain_stays_in_float_and_says_why(tmp_path, monkeypatch, target, precision):
    monkeypatch.setattr(pays, "LEAST_GAIN", 1e6)
    path = tmp_path / "u.edgeflow"
    compile_model(Uneven().eval(), load(target).at(precision), path, reference={}, frames=FRAMES)
    bundle = open_bundle(path)
    (entry,) = bundle.manifest.graphs.values()
    assert entry.precision == "fp32" and not entry.float_layers
    assert entry.note.startswith(f"{precision} is ")
    assert entry.note.endswith(f" times as fast as fp32 here, {1e6} are asked for")
    (found,) = check(bundle).graphs
    assert found.passed and found.max_error < 1e-3 and found.minimum_sqnr_db is None  # it is an fp32 engine
    assert load_layers(path) == {}


def test_where_the_targets_library_does_not_run_here_nothing_is_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(pays, "LEAST_GAIN", 1e6)
    path = tmp_path / "u.edgeflow"
    compile_model(Uneven().eval(), load("jetson-orin").at("int8"), path, reference={}, frames=FRAMES)
    (entry,) = open_bundle(path).manifest.graphs.values()
    assert entry.precision == "int8" and "as fast" not in entry.note


@pytest.mark.skipif(HAS_BF16, reason="this CPU has bf16, and times it")
def test_where_the_processor_lacks_bf16_it_stays_what_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(pays, "LEAST_GAIN", 1e6)
    path = tmp_path / "u.edgeflow"
    compile_model(Uneven().eval(), load("openvino-cpu").at("bf16"), path, reference={})
    manifest = open_bundle(path).manifest
    (entry,) = manifest.graphs.values()
    assert entry.precision == "bf16" and not entry.note
    assert manifest.provenance["compared"]["compared"] is False
    assert "instead of bf16" in manifest.provenance["compared"]["why"]


def test_a_bundle_of_both_runs(tmp_path, monkeypatch):
    """Engines at int8 and, where that did not pay, in float, one after the other."""
    from routed_models import small

    notes = iter(["", "int8 is 0.90 times as fast as fp32 here, 1.02 are asked for"] * 20)
    monkeypatch.setattr("edgeflow.export.precision.quantise.note_on", lambda precision, gain: next(notes))
    frames = [moving_picture(60, 70, time) for time in range(5)]
    path = tmp_path / "s.edgeflow"
    compile_model(
        small("Shortcut"), load("cpu").at("int8"), path, reference={}, strategy="chained", frames=frames
    )
    bundle = open_bundle(path)
    assert {entry.precision for entry in bundle.manifest.graphs.values()} == {"fp32", "int8"}
    assert check(bundle).passed
