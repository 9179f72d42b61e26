"""The oldest release of the engine library that a bundle's graphs need: said in its manifest, held when they are loaded."""

from dataclasses import replace

import numpy as np
import pytest
from kept_bundles import compile_kept
from plugin_model import Deforming

from edgeflow.export.needed_release import for_operators
from edgeflow.ir.errors import BackendError
from edgeflow.runtime import Session
from edgeflow.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from edgeflow.targets import load


def test_the_newest_operator_says_the_release():
    cpu = load("cpu")
    assert for_operators(cpu, {"Conv", "Relu"}) is cpu
    assert for_operators(cpu, {"Conv", "DeformConv"}).versions == ("1.26", "1.32")
    late = replace(cpu, versions=("1.27", "1.32"))
    assert for_operators(late, {"DeformConv"}) is late
    assert for_operators(load("openvino-cpu"), {"DeformConv"}).minimum == "2025.3"


def test_an_older_release_is_refused_in_words(tmp_path, monkeypatch):
    made = compile_kept(Deforming().eval(), load("cpu"), tmp_path / "d.edgeflow", reference={})
    assert made.manifest.target["versions"] == ["1.26", "1.32"]
    monkeypatch.setattr(OnnxRuntimeBackend, "version", "1.24.2")
    with pytest.raises(
        BackendError, match=r"needs onnxruntime 1\.26 or newer, and 1\.24\.2 is here: update it, or export"
    ):
        Session(made.path).run(np.zeros((8, 12, 20), np.float32))
