"""int8 bundles on a processor of another kind than the one that judged their engines."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from bright_model import Bright
from kept_bundles import compile_kept
from older_processors import capped_at_avx2, emulated_haswell, needs_qemu
from typer.testing import CliRunner

from edgeflow.cli.commands import app
from edgeflow.export.compile import compile_model
from edgeflow.export.precision import qdq, quantise
from edgeflow.export.precision.asked import Asked
from edgeflow.ir.errors import BackendError
from edgeflow.ir.sqnr import sqnr_db
from edgeflow.runtime import Session, open_bundle
from edgeflow.runtime.backends.onnxruntime_int8 import PAIRS_FIT
from edgeflow.runtime.check import check
from edgeflow.runtime.machine import instruction_sets
from edgeflow.targets import load

pytestmark = pytest.mark.slow

RUN = Path(__file__).parents[1] / "run_bundle.py"
LIBRARIES = ("onnxruntime", "openvino")
SUMS_ARE_EXACT = bool({"avx512_vnni", "avx_vnni"} & set(instruction_sets()))
ELSEWHERE = ["avx2", "avx512f", "amx_int8"]


def bright(time):
    """A noisy bright frame."""
    return np.random.default_rng(time).integers(180, 256, (16, 24, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A bundle at int8, by how its weights were quantised, and one at bf16."""
    folder = tmp_path_factory.mktemp("bright")

    def export(name, precision="int8", by=compile_kept):
        frames = [bright(time) for time in range(4)]
        target = load("openvino-cpu").at(precision)
        return by(Bright().eval(), target, folder / name, reference={}, frames=frames).path

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qdq, "fit_weights", lambda graph, layers: {})
        if not SUMS_ARE_EXACT:  # this very processor would notice, and leave layers in float
            patch.setattr(quantise, "Asked", lambda: Asked(-np.inf, -np.inf))
            patch.setattr(quantise, "missing_db", lambda *compared: 0.0)
        careless = export("careless.edgeflow", by=partial(compile_model, compare=False))
    fitting, bf16 = export("fitting.edgeflow"), export("bf16.edgeflow", "bf16")
    return {"fitting": fitting, "careless": careless, "bf16": bf16}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The user's cache folder."""
    monkeypatch.setenv("EDGEFLOW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def elsewhere(exported, tmp_path, cache):
    """Copies that were exported on a processor of another kind."""

    def copy(name):
        path = Path(shutil.copytree(exported[name], tmp_path / f"{name}.edgeflow"))
        manifest = json.loads((path / "manifest.json").read_text())
        assert manifest["provenance"]["instructions"] == list(instruction_sets())
        manifest["provenance"]["instructions"] = ELSEWHERE
        (path / "manifest.json").write_text(json.dumps(manifest))
        return path

    return copy


def spoiled(bundle):
    """The bundle, opened before the golden vectors were made to want something else."""
    opened = open_bundle(bundle)
    for path in (bundle / "golden").glob("*.npz"):
        if not path.name.startswith("clip"):
            with np.load(path) as stored:
                changed = {k: -v if k.startswith("out.") else v for k, v in stored.items()}
            np.savez(path, **changed)
    return opened


def remembered(cache):
    return list((cache / "right-at-int8").glob("*"))


def test_on_the_processor_that_judged_them_nothing_is_compared(exported, cache, tmp_path):
    path = Path(shutil.copytree(exported["fitting"], tmp_path / "b.edgeflow"))
    Session(spoiled(path))(bright(0))
    assert not remembered(cache)
    assert check(open_bundle(exported["fitting"])).judged_on == ""


def test_on_another_engines_are_compared_once_per_library(elsewhere, cache):
    path = elsewhere("fitting")
    Session(path)(bright(0))
    assert len(remembered(cache)) == 1
    wrong = spoiled(path)
    Session(wrong)(bright(0))  # it is known to be right
    with pytest.raises(BackendError, match="dB of signal to error at int8 on this processor"):
        Session(wrong, library="onnxruntime")(bright(0))
    assert len(remembered(cache)) == 1  # what is wrong is not


def test_a_cache_that_cannot_be_written_stops_nothing(elsewhere, cache):
    cache.write_text("in the way")
    path = elsewhere("fitting")
    assert Session(path)(bright(0)).shape == (8, 16, 24)
    assert cache.read_text() == "in the way"


def test_check_says_so_and_reports_instead_of_refusing(elsewhere, cache):
    path = elsewhere("fitting")
    report = check(open_bundle(path))
    assert report.passed and report.judged_on == " ".join(ELSEWHERE)
    assert report.instructions == instruction_sets()
    said = CliRunner().invoke(app, ["check", str(path)])
    assert said.exit_code == 0
    here = " ".join(instruction_sets())
    sentence = f"judged on avx2 avx512f amx_int8; this processor ({here}) is of another kind"
    assert sentence in said.stdout.replace("\n", " ")
    assert "avx2 avx512f amx_int8" in CliRunner().invoke(app, ["inspect", str(path)]).stdout
    assert not check(spoiled(path)).passed


def test_exported_graphs_need_no_slower_sums(exported):
    (path,) = (exported["fitting"] / "graphs").glob("*.onnx")
    assert PAIRS_FIT in {entry.key for entry in onnx.load(path, load_external_data=False).metadata_props}


def test_openvino_at_avx2_computes_what_it_does_here(exported, elsewhere, tmp_path):
    np.save(tmp_path / "frame.npy", bright(9))
    here = Session(exported["fitting"])(bright(9))
    there = capped_at_avx2(RUN, elsewhere("fitting"), tmp_path / "frame.npy", "openvino")
    assert sqnr_db([(np.reshape(there["made"], here.shape), here)]) > 50


def test_engines_that_are_wrong_at_avx2_are_refused(elsewhere, tmp_path):
    """As earlier versions exported them."""
    np.save(tmp_path / "frame.npy", bright(9))
    there = capped_at_avx2(RUN, elsewhere("careless"), tmp_path / "frame.npy", "openvino")
    assert "made" not in there
    assert "are asked for: export it again, or with --precision fp32" in there["refused"]


@needs_qemu
@pytest.mark.parametrize("library", LIBRARIES)
def test_an_older_processor_computes_what_this_one_does(exported, cache, tmp_path, library):
    np.save(tmp_path / "frame.npy", bright(9))
    here = Session(exported["fitting"])(bright(9))
    there = emulated_haswell(RUN, exported["fitting"], tmp_path / "frame.npy", library)
    assert there["instructions"] == ["avx2"]
    assert sqnr_db([(np.reshape(there["made"], here.shape), here)]) > 50
    assert len(remembered(cache)) == (instruction_sets() != ("avx2",))


@needs_qemu
def test_on_an_older_processor_openvino_refuses_what_it_would_compute_wrongly(exported, cache, tmp_path):
    np.save(tmp_path / "frame.npy", bright(9))
    there = emulated_haswell(RUN, exported["careless"], tmp_path / "frame.npy", "openvino")
    if instruction_sets() == ("avx2",):
        assert "made" in there  # this processor has judged it itself
    else:
        assert "at int8 on this processor (avx2)" in there["refused"]


@needs_qemu
def test_an_older_processor_refuses_bf16(exported, cache, tmp_path):
    np.save(tmp_path / "frame.npy", bright(9))
    there = emulated_haswell(RUN, exported["bf16"], tmp_path / "frame.npy", "openvino")
    assert "instead of bf16, which this CPU or graph does not allow" in there["refused"]
