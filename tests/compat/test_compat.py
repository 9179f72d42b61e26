"""Bundles of every schema so far, as they were written then: they are opened, checked and run for ever.

Each was made by the last edgeflow that wrote its schema, of `Patchwork` and `Shortcut` in `tests/routed_models.py` as they were.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from edgeflow.ir.bundle import SCHEMA, open_bundle
from edgeflow.ir.bundle.golden import sampled
from edgeflow.runtime import Session
from edgeflow.runtime.check import check, golden_clip

HERE = Path(__file__).parent
BUNDLES = sorted(HERE.glob("*.zip"))


@pytest.fixture(params=BUNDLES, ids=lambda path: path.stem)
def bundle(request, tmp_path):
    path = tmp_path / f"{request.param.stem}.edgeflow"
    with zipfile.ZipFile(request.param) as archive:
        archive.extractall(path)
    return open_bundle(path)


def test_there_is_one_of_every_schema_but_the_newest():
    found = {path.stem.split("-")[0] for path in BUNDLES}
    assert found >= {f"{SCHEMA[0]}.{minor}" for minor in range(SCHEMA[1] - 1)}


@pytest.mark.slow
def test_it_passes_its_own_goldens(bundle):
    report = check(bundle)
    assert report.passed and report.graphs and report.clips


def test_a_session_runs_it(bundle):
    kind, plan = next(iter(bundle.manifest.plans.items()))
    golden = golden_clip(bundle, kind)
    frames = [golden[f"0.in.{i}"] for i in range(len(plan.inputs))]
    wanted = golden["0.out.0"]
    made = Session(bundle, exact=True).run(*frames)
    assert abs(sampled(made.outputs[0]) - wanted).max() < 1e-4
