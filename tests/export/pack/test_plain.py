"""Plain ONNX files and their manifest, run by ONNX Runtime alone in a process that has no edgeflow."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import film_models
import numpy as np
import pytest
from kept_bundles import compile_kept
from routed_models import small

from edgeflow.export.pack.plain import write_plain
from edgeflow.export.sample import moving_picture
from edgeflow.ir.bundle import open_bundle
from edgeflow.ir.errors import BundleError
from edgeflow.ir.program import Tile
from edgeflow.ir.route import Axis, Variable
from edgeflow.ir.rules import (
    Argmax,
    ConfidenceBelow,
    DriftAbove,
    FirstNonZero,
    Priced,
    Spread,
    StreamContext,
    Table,
)
from edgeflow.ir.tiles import pool_map
from edgeflow.runtime import Session
from edgeflow.targets import load

pytestmark = pytest.mark.slow

READER = Path(__file__).parents[3] / "examples" / "run_routes.py"
MODELS = {
    "any_time": (film_models.any_time, (70, 110)),
    "Patchwork": (lambda: small("Patchwork"), (70, 110)),
    "Shortcut": (lambda: small("Shortcut"), (16, 24)),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("strategy", ["routes", "chained"])
def test_a_reader_without_edgeflow_makes_the_same(tmp_path, name, strategy):
    build, size = MODELS[name]
    path = tmp_path / "model.edgeflow"
    compile_kept(build(), load("cpu"), path, reference={"model": name}, strategy=strategy)
    bundle = open_bundle(path)
    write_plain(bundle, tmp_path / "plain")
    images = [spec.name for spec in next(iter(bundle.manifest.plans.values())).inputs if spec.image]
    film = [moving_picture(*size, time) for time in range(5)]
    calls = {name: np.stack([film[i + n] for n in range(4)]) for i, name in enumerate(images)}
    if bundle.manifest.task.timed:
        calls["time"] = np.float32([[0.5], [0.25], [0.5], [0.75]])
    np.savez(tmp_path / "in.npz", **calls)
    code = [sys.executable, "-I", str(READER), tmp_path / "plain", tmp_path / "in.npz", tmp_path / "out.npz"]
    done = subprocess.run(code, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = dict(np.load(tmp_path / "out.npz")).values()
    with Session(bundle, threads=1) as session:
        wanted, taken = [], set()
        for call in zip(*calls.values(), strict=True):
            result = session.run(*call)
            wanted.append(result.outputs[0])
            taken |= {str(value) for values in result.trace.choices.values() for value in values}
    assert len(taken) > 1, "the frames take several routes"
    assert np.abs(made.astype(int) - np.stack(wanted)).max() <= 1, (
        "batches of other sizes may round otherwise"
    )
    assert (made == np.stack(wanted)).mean() > 0.999


@pytest.mark.parametrize(
    "rule,axis,width",
    [
        (Argmax(), Axis(1, 2, 3), 3),
        (Priced(0.7, (0.0, 0.5, 2.0)), Axis("copy", "half", "full"), 3),
        (Table((-0.4, 0.2)), Axis("copy", "half", "full"), 1),
        (FirstNonZero(), Axis(1, 2, 3), 3),
        (ConfidenceBelow(0.5), Axis(False, True), 5),
        (ConfidenceBelow(0.5), Axis(True, False), 5),
        (Spread(0.6, (0.1, 2.5)), Axis("parts", "whole"), 12),
    ],
)
def test_the_reader_chooses_as_the_runtime_does(rule, axis, width, random):
    reader = runpy.run_path(str(READER))
    scores = random.normal(0, 1, (200, width)).astype(np.float32)
    scores[random.random((200, width)) < 0.3] = 0
    chosen = reader["choose"](rule.to_json(), scores, list(axis.values), "")
    assert (chosen == rule.decide(scores, axis)).all()
    assert len(set(chosen.tolist())) == len(axis.values), "every value is taken"


def test_the_reader_holds_to_a_drift(tmp_path):
    reader, rule = runpy.run_path(str(READER))["Runner"], DriftAbove(0.3, 4)
    runner, context = reader.__new__(reader), StreamContext()
    runner.since, variable = {}, Variable("mode", Axis("key", "short"))
    for measured in (0.1, 0.2, 0.5, 0.1, 0.1, 0.1, 0.1, float("nan"), 0.2):
        chosen = rule.choose(context, variable, measured)
        context.advance({"mode": np.array([chosen])})
        assert runner.key_frame("mode", rule.to_json(), np.float32([[measured]])) == chosen, measured


def test_the_reader_says_how_it_is_called():
    done = subprocess.run([sys.executable, str(READER), "-h"], capture_output=True, text=True)
    assert done.returncode == 0 and "INPUTS.npz" in done.stdout and "usage:" in done.stdout


def test_a_folder_of_somebody_else_stays(tmp_path):
    path = tmp_path / "model.edgeflow"
    compile_kept(film_models.larger(), load("cpu"), path, reference={"model": "larger"}, strategy="routes")
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "mine.txt").write_text("mine")
    with pytest.raises(BundleError, match="holds something else"):
        write_plain(open_bundle(path), plain)
    assert (plain / "mine.txt").read_text() == "mine"
    shutil.rmtree(plain)
    write_plain(open_bundle(path), plain)
    write_plain(open_bundle(path), plain)
    told = json.loads((plain / "routes.json").read_text())
    files = {
        file["file"]
        for plan in told["plans"].values()
        for step in plan["steps"]
        for file in step.get("files", ())
    }
    assert files and all((plain / file).is_file() for file in files)


@pytest.mark.parametrize("how", ["mean", "max"])
def test_the_reader_takes_a_map_over_patches_as_the_runtime_does(how):
    grid_of, random = runpy.run_path(str(READER))["Grid"], np.random.default_rng(0)
    for _ in range(100):
        size, halo = int(random.choice([32, 48, 64])), int(random.choice([0, 4, 8]))
        height, width = map(int, random.integers(64, 200, 2))
        scores = random.random((2, *random.integers(2, 24, 2)), dtype=np.float32)
        grid = Tile("tiles", ("frame",), ("tile",), size, halo, 1, 1).grid(height, width)
        own = grid_of((height, width), {"size": size, "halo": halo, "multiple": 1, "smaller": 1})
        assert np.abs(pool_map(scores, grid, how) - own.over_patches(scores, how)).max() < 1e-5
