"""Engines are profiled at the size that a bundle is for."""

from kept_bundles import compile_kept
from routed_models import small

from edgeflow.runtime import open_bundle
from edgeflow.runtime.measure.profile import profile
from edgeflow.targets import load


def test_a_bundle_of_one_size_needs_no_clip_and_no_size(tmp_path, monkeypatch):
    monkeypatch.setattr("edgeflow.runtime.measure.profile.RUNS", 1)
    path = tmp_path / "fixed.edgeflow"
    compile_kept(small("Levels"), load("cpu"), path, reference={}, sizes=[(40, 56)], strategy="chained")
    report = profile(open_bundle(path))
    assert report.engines and all(engine.latency.median_ms > 0 for engine in report.engines)
