"""Settings on a clip: which are worth it, which is the best, which the fastest."""

import json
from shutil import copytree

import numpy as np
import pytest

from edgeflow.cli.commands import main
from edgeflow.ir.bundle.replacing import check_replaceable
from edgeflow.ir.bundle.tuned import FOLDER, load_tuned, save_tuned
from edgeflow.ir.errors import BundleError, InputError
from edgeflow.runtime import Fixed
from edgeflow.runtime.machine import cpu_name
from edgeflow.runtime.measure.profile import Latency
from edgeflow.runtime.measure.tune import Point, Setting, pareto, tune
from edgeflow.runtime.measure.worth import Worth
from edgeflow.runtime.stream.policy import Own


def point(ms, quality, threads=1):
    worth = Worth("own", Latency.of([ms]), 1.0, quality, quality, 0.0, None, {})
    return Point(Setting("onnxruntime", threads, "own"), worth)


def test_what_nothing_beats():
    points = [point(5, 30), point(3, 20), point(4, 19), point(9, 31), point(10, 31)]
    assert [(each.ms, each.quality) for each in pareto(points)] == [(3, 20), (5, 30), (9, 31)]


@pytest.fixture(scope="module")
def bundle(tiny_bundles):
    return tiny_bundles["chained"]


@pytest.fixture(scope="module")
def frames():
    random = np.random.default_rng(0)
    first = random.integers(0, 256, (64, 96, 3), np.uint8)
    return [np.roll(first, 2 * k, 1) for k in range(10)]


POLICIES = {"own": Own(), "--fix exit=2": Fixed(exit=2)}


def test_settings_are_measured_and_two_are_chosen(bundle, frames):
    found = tune(bundle, frames, POLICIES, [("onnxruntime", 1), ("openvino", 1)], max_drop=100.0)
    assert found.reference == "frames that were left out"
    libraries = {each.setting.library for each in found.points}
    assert libraries == {"onnxruntime", "openvino"}
    assert {p.setting.policy for p in found.points} == {"own", "--fix exit=2", "dearest route"}
    assert found.fast.ms <= min(each.ms for each in found.points) * 1.02
    assert found.best.quality == max(each.quality for each in found.points)
    assert found.front[0].ms == found.points[0].ms and json.dumps(found.to_json())


def test_what_cannot_be_tuned(bundle, frames):
    with pytest.raises(InputError, match=r"no setting holds 0\.0001 ms"):
        tune(bundle, frames, POLICIES, [("onnxruntime", 1)], max_drop=0, budget_ms=1e-4)
    with pytest.raises(InputError, match="no engine library"):
        tune(bundle, frames, POLICIES, [("tensorrt", 1)], max_drop=0)


@pytest.mark.slow
def test_the_command(bundle, tmp_path, capsys, monkeypatch):
    from edgeflow.cli import tune as command

    film = tmp_path / "in.mkv"
    _film(film)
    monkeypatch.setattr(command, "_settings", lambda bundle: [("onnxruntime", 1)])
    words = ["tune", str(bundle.path), "--clip", str(film), "--frames", "10", "-o", str(tmp_path / "tuned")]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--metric", "ssim"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and "edgeflow run" in said and "best" in said and "fast" in said
    told = json.loads((tmp_path / "tuned" / "tuned.json").read_text())
    assert told["metric"] == "ssim" and all(-1 <= each["worth"]["ssim"] <= 1 for each in told["points"])
    for name in ("pareto.png", "sheet.png"):
        assert (tmp_path / "tuned" / name).read_bytes().startswith(b"\x89PNG")
    for wrong, complaint in (([], "exists"), (["--overwrite", "--metric", "top1"], "choose psnr")):
        with pytest.raises(SystemExit):
            main([*words, *wrong])
        assert complaint in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.slow
def test_a_setting_that_is_kept_is_used_where_nothing_else_is_asked_for(
    bundle, tmp_path, capsys, monkeypatch
):
    from edgeflow.cli import tune as command

    own = tmp_path / "own.edgeflow"
    copytree(bundle.path, own)
    for costs in (own / "profile").glob("*.json"):  # of other tests, which share the bundle
        costs.unlink()
    film = tmp_path / "in.mkv"
    _film(film)
    monkeypatch.setattr(command, "_settings", lambda bundle: [("openvino", 1)])

    def said(*words):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        found = capsys.readouterr()
        assert ended.value.code == 0, found.err
        return found.err.replace("\n", " ")

    said(
        "tune", own, "--clip", film, "--frames", 10, "-o", tmp_path / "t", "--keep", "fast", "--max-drop", 100
    )
    kept = load_tuned(own, cpu_name())
    assert kept.library == "openvino" and kept.threads == 1
    assert f"as tuned for this machine: {kept.options}" in said("run", own, film, "-o", tmp_path / "a.mkv")
    assert "as tuned" not in said("run", own, film, "-o", tmp_path / "b.mkv", "--threads", "1")
    assert load_tuned(own, "another processor") is None
    assert "let go of what was kept" in said("tune", own, "--forget") and load_tuned(own, cpu_name()) is None
    assert "nothing was kept" in said("tune", own, "--forget")
    save_tuned(own, cpu_name(), kept)
    next((own / FOLDER).iterdir()).write_text('{"library": 3}')
    with pytest.raises(BundleError, match="is damaged"):
        load_tuned(own, cpu_name())
    with pytest.raises(BundleError, match="settings that were tuned"):
        check_replaceable(own, overwrite=False)


def _film(path):
    import av

    with av.open(str(path), "w") as film:
        stream = film.add_stream("ffv1", rate=25, width=96, height=64, pix_fmt="bgr0")
        first = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
        for k in range(10):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(first, 2 * k, 1), format="rgb24")))
        film.mux(stream.encode())
