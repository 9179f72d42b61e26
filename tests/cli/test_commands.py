"""The commands as a user types them, in one process."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import av
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "early_exit_classifier.py"


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.fixture(scope="module")
def bundle(tiny_bundles) -> Path:
    return Path(tiny_bundles["chained"].path)


@pytest.mark.parametrize("command", [[], ["export"], ["run"], ["profile"], ["train", "cain-sd"], ["sys"]])
def test_every_command_explains_itself(edgeflow, command):
    said = edgeflow(*command, "--help")
    assert said.code == 0
    assert "Usage" in said.out and len(said.out) > 300


def test_targets_and_sys_as_json(edgeflow):
    names = {target["name"] for target in json.loads(edgeflow("targets", "--json").out)}
    assert {"cpu", "openvino-cpu"} <= names
    found = json.loads(edgeflow("sys", "--json").out)
    assert found["targets"]["cpu"] == "ready"
    assert found["machine"]["threads"] >= 1


def test_inspect_shows_every_graph(edgeflow, bundle):
    said = edgeflow("inspect", bundle)
    manifest = json.loads(edgeflow("inspect", bundle, "--json").out)
    assert said.code == 0
    assert len(manifest["graphs"]) >= 12
    assert "exit in (2, 3, 4, 5)" in said.out


@pytest.mark.slow
@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
def test_check_passes_on_both_libraries(edgeflow, bundle, library):
    said = edgeflow("check", bundle, "--library", library, "--json")
    report = json.loads(said.out)
    assert said.code == 0 and report["passed"] and report["library"] == library
    assert all(clip["flips"] == 0 and clip["psnr_db"] >= 70 for clip in report["clips"])


@pytest.mark.slow
def test_check_fails_when_an_engine_computes_something_else(edgeflow, bundle, tmp_path):
    import hashlib

    import numpy as np

    other = tmp_path / "other.edgeflow"
    shutil.copytree(bundle, other)
    manifest = json.loads((other / "manifest.json").read_text())
    plan = next(iter(manifest["plans"].values()))
    head = next(step for step in plan["steps"] if step.get("name", "").startswith("head"))
    name = head["graphs"][0]["golden"]
    golden = other / name
    with np.load(golden) as stored:
        arrays = {key: stored[key] + (0.01 if key.startswith("out.") else 0) for key in stored}
    np.savez_compressed(
        golden, **{k: a.astype(np.float32) if k.startswith("out.") else a for k, a in arrays.items()}
    )
    data = golden.read_bytes()
    entry = manifest["files"][name]
    entry["bytes"], entry["sha256"] = len(data), hashlib.sha256(data).hexdigest()
    (other / "manifest.json").write_text(json.dumps(manifest))
    said = edgeflow("check", other)
    assert said.code == 1
    assert "DIFFERS" in said.out and "FAILED" in said.out


@pytest.mark.parametrize(("times", "written"), [(2, 18), (4, 36)])
def test_run_multiplies_the_frame_rate(edgeflow, bundle, clip, tmp_path, times, written):
    said = edgeflow("run", bundle, clip, "-o", tmp_path / "out.mp4", "--times", times, "--overlay", "--json")
    report = json.loads(said.out)
    assert said.code == 0
    assert report["frames_written"] == written == frames_of(tmp_path / "out.mp4")
    assert report["fps"] == 25 * times
    assert sum(report["routes"].values()) > 0


def test_run_takes_a_fixed_route(edgeflow, bundle, clip, tmp_path):
    fix = ("--fix", "exit=2", "--fix", "scale=4")
    said = edgeflow("run", bundle, clip, "-o", tmp_path / "out.mp4", *fix, "--json")
    assert list(json.loads(said.out)["routes"]) == ["scale=4 exit=2"]


@pytest.mark.slow
def test_profile_writes_its_report(edgeflow, bundle, clip, tmp_path):
    said = edgeflow("profile", bundle, "--clip", clip, "--frames", 6, "--json", tmp_path / "p.json")
    report = json.loads((tmp_path / "p.json").read_text())
    assert said.code == 0 and "GFLOP" in said.out
    assert report["clip"]["frames"] == 3
    assert {e["batch"] for e in report["engines"]} == {1, 2, 4, 8}
    engines = report["clip"]["engines_ms"]
    assert 0 < engines <= report["clip"]["latency"]["mean_ms"]
    assert sum(report["clip"]["routes"].values()) == pytest.approx(1)
    steps = {step["name"]: step["ms"] for step in report["waterfall"]["steps"]}
    spent = report["waterfall"]["routed_cost"]["spent"]
    assert sum(steps.values()) == pytest.approx(sum(spent.values()))
    assert f"realisation {report['waterfall']['realisation']:.2f}" in said.out
    for name, ms in steps.items():
        assert any(name in line and f"{ms:.2f}" in line for line in said.out.splitlines())


@pytest.mark.slow
def test_profile_writes_a_frames_timeline(edgeflow, bundle, clip, tmp_path):
    assert (
        edgeflow("profile", bundle, "--clip", clip, "--frames", 4, "--trace", tmp_path / "t.json").code == 0
    )
    frame, *spans = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert all(span["ts"] >= 0 and span["ts"] + span["dur"] <= frame["dur"] for span in spans)
    ordered = sorted(spans, key=lambda span: span["ts"])  # Perfetto drops what overlaps without lying inside
    assert all(a["ts"] + a["dur"] <= b["ts"] + 1e-3 for a, b in pairwise(ordered))
    assert all(event["ph"] == "X" and {"name", "pid", "tid"} <= set(event) for event in (frame, *spans))
    assert sum(span["cat"] == "stitch" for span in spans) == 1
    assert sum(span["cat"] == "engine" for span in spans) > 5


@pytest.mark.parametrize("option", ["--static", "--trace"])
def test_profile_needs_a_clip_for_some_options(edgeflow, bundle, tmp_path, option):
    said = edgeflow("profile", bundle, option, tmp_path / "x")
    assert said.code == 1
    assert f"{option} {tmp_path / 'x'} needs frames to run: give --clip as well" in said.err.replace("\n", "")


@pytest.mark.slow
def test_export_of_ones_own_model_by_file_and_by_module(edgeflow, tmp_path, monkeypatch):
    made = tmp_path / "classifier.edgeflow"
    said = edgeflow("export", f"{EXAMPLE}:build", "-o", made, "--json")
    assert said.code == 0
    report = json.loads(said.out)
    assert 0 < report["unique_weight_bytes"] <= report["weight_file_bytes"]
    assert edgeflow("check", made).code == 0
    shutil.copy(EXAMPLE, tmp_path / "mine.py")
    monkeypatch.chdir(tmp_path)
    other = edgeflow(
        "export", "mine:build", "-o", "other.edgeflow", "--plan", "routes", "--target", "openvino-cpu"
    )
    assert other.code == 0
    assert edgeflow("check", "other.edgeflow").code == 0


def test_export_at_int8_says_what_became_of_every_engine(edgeflow, tmp_path, clip):
    made = tmp_path / "classifier.edgeflow"
    said = edgeflow("export", f"{EXAMPLE}:build", "--precision", "int8", "--clip", clip, "-o", made, "--json")
    assert said.code == 0
    report = json.loads(said.out)
    assert report["precision"] == "int8"
    assert "int8" in {engine["precision"] for engine in report["engines"].values()}
    assert all(e["precision"] == "int8" or e["note"] for e in report["engines"].values())
    shown = edgeflow("inspect", made).out
    assert "onnxruntime >= 1.23, int8" in shown
    assert all(engine["note"] in shown for engine in report["engines"].values())
    assert edgeflow("check", made).code == 0


def test_layers_that_int8_leaves_in_float_are_named(edgeflow, tmp_path, clip):
    model = ("tests/uneven_model.py:Uneven", "--precision", "int8", "--clip", clip)
    said = edgeflow("export", *model, "-o", tmp_path / "u.edgeflow", "--json")
    assert said.code == 0, said.err
    ((name, engine),) = json.loads(said.out)["engines"].items()
    (layer,) = engine["float_layers"]
    line = f"{name} keeps 1 layer in float: {layer}"
    assert line in edgeflow("export", *model, "-o", tmp_path / "u.edgeflow").out
    assert line in edgeflow("inspect", tmp_path / "u.edgeflow").out
    assert f"keeps 1 layer in float: {layer}" in edgeflow("check", tmp_path / "u.edgeflow").out
    for command in ("inspect", "check"):
        assert layer in edgeflow(command, tmp_path / "u.edgeflow", "--json").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "nowhere"], "no bundle at nowhere"),
        (["export", "nothing", "-o", "x.edgeflow"], "no model 'nothing'"),
        (["export", "gone.py:build", "-o", "x.edgeflow"], "no file gone.py"),
        (["export", EXAMPLE, "-o", "x.edgeflow"], f"give {EXAMPLE}:build"),
        (["export", "no.such.module:build", "-o", "x.edgeflow"], "cannot be imported"),
        (["export", f"{EXAMPLE}:nobody", "-o", "x.edgeflow"], "no function 'nobody'"),
        (["export", "cain-sd", "--preset", "huge", "-o", "x.edgeflow"], "presets full, small, tiny"),
        (["export", "cain-sd", "--variant", "X", "-o", "x.edgeflow"], "variants S, D, SD"),
        (["export", "cain-sd", "--target", "toaster", "-o", "x.edgeflow"], "no target 'toaster'"),
        (["export", "cain-sd", "--size", "big", "-o", "x.edgeflow"], "WIDTHxHEIGHT"),
        (["export", "cain-sd", "--weights", "gone.safetensors", "-o", "x.edgeflow"], "gone.safetensors"),
        (["export", "cain-sd", "--clip", "gone.mp4", "-o", "x.edgeflow"], "gone.mp4"),
        (["export", "cain-sd", "-o", "gone/x.edgeflow"], "no folder"),
        (["export", "cain-sd", "--precision", "bf16", "-o", "x.edgeflow"], "use one of fp32, int8"),
        (
            ["export", f"{EXAMPLE}:build", "--precision", "int8", "-o", "x.edgeflow"],
            "give a video with --clip",
        ),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(edgeflow, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    said = edgeflow(*arguments)
    lines = [line for line in said.err.splitlines() if line.strip()]
    assert said.code == 1
    assert len(lines) == 1 and lines[0].startswith("edgeflow: error: ") and message in lines[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fix", "depth=3"], "AXIS=VALUE"),
        (["--fix", "exit=9"], "exit is one of 1, 2, 3, 4, 5"),
        (["--times", "3"], "2 or 4"),
        (["--library", "abacus"], "abacus"),
    ],
)
def test_mistakes_of_run(edgeflow, bundle, clip, tmp_path, options, message):
    said = edgeflow("run", bundle, clip, "-o", tmp_path / "out.mp4", *options)
    assert said.code == 1 and message in said.err
    assert "Traceback" not in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_run_of_a_bundle_that_interpolates_nothing(edgeflow, tmp_path, clip):
    made = tmp_path / "classifier.edgeflow"
    edgeflow("export", f"{EXAMPLE}:build", "-o", made)
    said = edgeflow("run", made, clip, "-o", tmp_path / "out.mp4")
    assert said.code == 1 and "not one frame to translate or two to interpolate" in said.err


def test_debug_shows_the_traceback(edgeflow):
    assert "Traceback" in edgeflow("check", "nowhere", "--debug").err
    assert "Traceback" not in edgeflow("check", "nowhere").err


def test_misuse_exits_with_two(edgeflow):
    assert edgeflow("chek").code == 2
    assert edgeflow("run").code == 2


@pytest.mark.parametrize("command", ["run", "batch", "watch", "eval", "profile", "tune"])
def test_a_bundle_and_a_video_the_other_way_round_are_told(edgeflow, clip, tmp_path, command):
    (tmp_path / "b.edgeflow").mkdir()
    (tmp_path / "b.edgeflow" / "manifest.json").write_text("{}")
    where = ["--clip"] if command in ("eval", "profile", "tune") else []
    output = ["-o", tmp_path / "out"] if command in ("run", "batch", "tune") else []
    said = edgeflow(command, clip, *where, tmp_path / "b.edgeflow", *output)
    assert (
        said.code == 1 and "b.edgeflow is a bundle, and" in said.err and "give the bundle first" in said.err
    )
