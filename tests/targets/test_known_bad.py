"""Operators that TensorRT is known to get wrong: the rules, and a build that tries them on the device."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from kept_bundles import compile_kept
from warping_model import Warping

from edgeflow.ir.bundle import open_bundle
from edgeflow.runtime import Session
from edgeflow.targets import load
from edgeflow.targets.known_bad import rules


@pytest.fixture(scope="module")
def warping(tmp_path_factory):
    path = tmp_path_factory.mktemp("warping") / "warping.edgeflow"
    torch.manual_seed(0)
    compile_kept(Warping().eval(), load("desktop-gpu"), path, reference={"model": "mine"})
    return path


def build(path, capsys):
    from edgeflow.cli import main

    with pytest.raises(SystemExit) as stopped:
        main(["build", str(path), "--json"])
    printed = capsys.readouterr()
    return stopped.value.code, json.loads(printed.out), printed.err


def test_every_rule_says_what_where_and_what_instead():
    for rule in rules():
        assert rule.operator and rule.what and rule.seen and rule.advice and rule.sources, rule.name
        assert rule.form in ("", "gather", "single")
    assert {rule.operator for rule in rules()} >= {"GridSample", "If", "ConvTranspose"}


def test_a_bundle_carries_the_other_form_and_its_probe(warping):
    bundle = open_bundle(warping)
    (entry,) = bundle.manifest.graphs.values()
    assert entry.other.endswith(".other.onnx") and entry.probes == ("grid_sample-border-corners",)
    (gap,) = [g for g in bundle.manifest.provenance["support"]["gaps"] if g["operator"] == "GridSample"]
    assert not gap["fatal"] and "issue 4813" in gap["reason"] and "10.3" not in gap["versions"]


@pytest.mark.parametrize("fault", ["", "grid_sample"])
def test_a_wrong_operator_takes_its_other_form(machine, warping, tmp_path, capsys, monkeypatch, fault):
    import shutil

    monkeypatch.setattr("edgeflow.runtime.device.RUNS", 2)
    path = shutil.copytree(warping, tmp_path / "warping.edgeflow")
    machine.fault(fault)
    code, said, remarks = build(path, capsys)
    assert code == 0 and said["check"]["passed"]
    (tried,) = said["probes"]
    assert tried["reason"] == ""
    assert tried["passed"] == (not fault) and (tried["error"] > 0.01) == bool(fault)
    assert ("grid_sample is wrong here" in remarks.replace("\n", " ")) == bool(fault)
    x = np.random.default_rng(0).standard_normal((4, 9, 14)).astype(np.float32)
    found, wanted = Session(path)(x), Session(path, library="onnxruntime")(x)
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_an_operator_that_is_refused_takes_its_other_form(machine, warping, tmp_path, capsys, monkeypatch):
    import shutil

    monkeypatch.setattr("edgeflow.runtime.device.RUNS", 2)
    path = shutil.copytree(warping, tmp_path / "warping.edgeflow")
    machine.fault("grid_sample refused")
    code, said, remarks = build(path, capsys)
    assert code == 0 and said["check"]["passed"]
    assert said["probes"][0]["error"] is None and "is refused here" in remarks.replace("\n", " ")
