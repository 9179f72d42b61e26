"""`targets`, `export --dry-run`, `--operators` and `sys` for devices that are not here."""

from __future__ import annotations

import json

import pytest
import torch

MODEL = "tests/plugin_model.py:Deforming"
PLUGINS = {"EdgeflowAdaBD", "EdgeflowCostVolume", "EdgeflowDeformConv2d"}


def test_targets_are_listed_and_explained(edgeflow):
    said = edgeflow("targets")
    names = ("cpu", "jetson-orin", "jetson-orin-nano", "jetson-thor", "desktop-gpu", "desktop-gpu-ort")
    assert said.code == 0 and all(name in said.out for name in (*names, "openvino-gpu", "openvino-npu"))
    shown = edgeflow("targets", "show", "jetson-orin")
    assert "JetPack 6.1 to 6.2.2" in shown.out and "204.8 GB/s" in shown.out and "data sheet" in shown.out
    facts = json.loads(edgeflow("targets", "show", "jetson-thor", "--json").out)
    assert facts["compute_capability"] == "11.0" and facts["sources"]["roofline.gbytes"]


def test_every_fact_of_a_device_has_a_source():
    from edgeflow.targets import load, names

    for target in map(load, names()):
        if target.library in ("onnxruntime", "openvino"):
            continue  # measured, as their files say
        wanted = {"memory_gb", "roofline.gflops", "roofline.gbytes", "roofline.launch_ms"}
        wanted |= {"compute_capability"} if target.compute_capability else set()
        assert wanted <= set(target.sources), target.name


def test_a_target_of_ones_own(edgeflow, tmp_path):
    from edgeflow.targets.target import _FOLDER

    mine = tmp_path / "mine.toml"
    text = (_FOLDER / "jetson-orin.toml").read_text()
    mine.write_text(text.replace('name = "jetson-orin"', 'name = "my-board"').replace("42500.0", "20000.0"))
    assert "my-board" in edgeflow("targets", "show", mine).out


def test_a_dry_run_shows_what_would_be_made_and_makes_nothing(edgeflow, tmp_path):
    out = tmp_path / "mine.edgeflow"
    said = edgeflow("export", MODEL, "--target", "jetson-orin", "-o", out, "--dry-run", "--json")
    assert said.code == 0, said.err
    shown = json.loads(said.out)
    assert not list(tmp_path.iterdir())
    (engine,) = shown["engines"]
    assert engine["precision"] == "fp16" and engine["ms"] > 0 and shown["build_seconds"] > 0
    assert shown["unique_bytes"] > 0 and list(shown["frame_ms"]) == ["any"]
    assert {gap["operator"] for gap in shown["support"]["gaps"]} == PLUGINS
    text = edgeflow("export", MODEL, "--target", "jetson-orin", "-o", out, "--dry-run")
    assert (
        "very roughly" in text.out
        and "not measured" in text.out
        and "TensorRT 10.3, 10.7, 10.16, 11.4" in text.out
    )


def test_a_dry_run_says_what_the_export_makes(edgeflow, tmp_path):
    from edgeflow.cli.expected import expect
    from edgeflow.runtime import open_bundle
    from edgeflow.targets import load

    out = tmp_path / "mine.edgeflow"
    torch.manual_seed(0)
    dry = json.loads(edgeflow("export", MODEL, "-o", out, "--dry-run", "--json").out)
    torch.manual_seed(0)
    assert edgeflow("export", MODEL, "-o", out).code == 0
    assert dry == json.loads(json.dumps(expect(open_bundle(out), load("cpu")).to_json()))


def test_a_dry_run_makes_golden_vectors_only_where_engines_are_chosen_by_them(
    edgeflow, tmp_path, monkeypatch
):
    from edgeflow.export.pack.golden import GoldenMaker

    made = []
    of = GoldenMaker.of
    monkeypatch.setattr(GoldenMaker, "of", lambda maker, variant: made.append(variant) or of(maker, variant))
    command = ("export", MODEL, "--target", "openvino-cpu", "-o", tmp_path / "x.edgeflow", "--dry-run")
    assert edgeflow(*command).code == 0 and not made
    assert edgeflow(*command, "--precision", "bf16").code == 0 and made


@pytest.mark.parametrize(("form", "held"), [("plugin", PLUGINS), ("standard", {"GridSample", "MatMul"})])
def test_forms_of_operators_that_have_plugins(edgeflow, tmp_path, form, held):
    out = tmp_path / "mine.edgeflow"
    said = edgeflow("export", MODEL, "--target", "jetson-orin", "-o", out, "--operators", form, "--json")
    assert said.code == 0, said.err
    operators = set(json.loads(said.out)["support"]["operators"])
    assert held <= operators and not {"DeformConv", *(PLUGINS - held)} & operators
    assert (out / "plugins").is_dir() == (form == "plugin")
    said = edgeflow("inspect", out)
    assert said.code == 0 and (f"plugins {', '.join(sorted(PLUGINS))}" in said.out) == (form == "plugin")


def test_plugins_are_tensorrts_alone(edgeflow, tmp_path):
    said = edgeflow("export", MODEL, "-o", tmp_path / "x.edgeflow", "--operators", "plugin")
    assert said.code == 1 and "plugins are TensorRT's: use --operators native or standard" in said.err


def test_int8_with_plugins(edgeflow, tmp_path, clip):
    out = tmp_path / "x.edgeflow"
    model = "tests/plugin_model.py:DeformingPicture"
    target = ("--target", "jetson-orin", "--precision", "int8")
    said = edgeflow("export", model, *target, "--clip", clip, "-o", out, "--json")
    assert said.code == 0, said.err
    report = json.loads(said.out)
    assert {engine["precision"] for engine in report["engines"].values()} == {"int8"}
    assert "EdgeflowDeformConv2d" in report["support"]["operators"]
    checked = json.loads(edgeflow("check", out, "--library", "onnxruntime", "--json").out)
    assert all(engine["passed"] for engine in checked["graphs"])
    refused = edgeflow("check", out, "--library", "openvino")
    assert refused.code == 1 and "export it with --operators native or standard" in refused.err


def test_build_without_tensorrt_says_how_to_get_it(edgeflow, bundle_for_orin):
    said = edgeflow("build", bundle_for_orin)
    assert said.code == 1 and "TensorRT is not installed" in said.err and "JetPack" in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_build_of_a_bundle_that_needs_none_says_so(edgeflow, tmp_path):
    out = tmp_path / "gpu.edgeflow"
    assert edgeflow("export", MODEL, "--target", "desktop-gpu-ort", "-o", out).code == 0
    said = edgeflow("build", out)
    assert said.code == 1 and "is for desktop-gpu-ort (onnxruntime-cuda), which needs no build" in said.err


@pytest.mark.parametrize("target", ["cpu", "openvino-cpu"])
def test_build_keeps_what_a_library_made_for_this_processor(edgeflow, tmp_path, target):
    out = tmp_path / "here.edgeflow"
    assert edgeflow("export", MODEL, "--target", target, "-o", out).code == 0
    built = edgeflow("build", out, "--json")
    assert built.code == 0, built.err
    said = json.loads(built.out)
    assert said["engines"] and not any(engine["found"] for engine in said["engines"])
    assert all(graph["passed"] for graph in said["check"]["graphs"])
    again = edgeflow("build", out)
    count = len(said["engines"])
    assert again.code == 0 and f"{count} engines, 0 built" in again.out and "goldens agree" in again.out
    anew = edgeflow("build", out, "--anew")
    assert anew.code == 0 and f"{count} engines, {count} built" in anew.out


def test_sys_says_of_every_target_why_it_cannot_run(edgeflow):
    states = json.loads(edgeflow("sys", "--json").out)["targets"]
    assert states["cpu"] == "ready"
    assert "JetPack" in states["jetson-orin"] and "onnxruntime-gpu" in states["desktop-gpu-ort"]


@pytest.fixture
def bundle_for_orin(edgeflow, tmp_path):
    out = tmp_path / "orin.edgeflow"
    assert edgeflow("export", MODEL, "--target", "jetson-orin", "-o", out).code == 0
    return out


def test_wrap_refuses_a_target_that_is_not_here_before_it_looks_at_anything(edgeflow, tmp_path):
    said = edgeflow(
        "wrap",
        "no.py:build",
        "--clip",
        tmp_path / "no.mp4",
        "--target",
        "jetson-orin",
        "-o",
        tmp_path / "w.edgeflow",
    )
    assert said.code == 1 and "jetson-orin does not run here" in said.err and "no.py" not in said.err
