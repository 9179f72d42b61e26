"""Compiled models that a bundle keeps for the machine that it is on."""

import json
import shutil
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from kept_bundles import compile_kept
from openvino_here import HAS_BF16
from routed_models import small

import edgeflow
from edgeflow.export.sample import moving_picture
from edgeflow.ir.bundle.built_here import record_built
from edgeflow.ir.errors import BackendError, BundleError, InputError
from edgeflow.runtime import Session, open_bundle
from edgeflow.runtime.backends import openvino_backend
from edgeflow.runtime.backends.compiled_from import engine_folder
from edgeflow.runtime.keep import keep_models
from edgeflow.targets import load

pytestmark = pytest.mark.slow

SIZE = (200, 310)


KINDS = [("routes", "fp32"), ("chained", "fp32"), *([("chained", "bf16")] if HAS_BF16 else [])]


@pytest.fixture(scope="module")
def export(export_tiny):
    def export(strategy, precision):
        batches = (1,) if strategy == "routes" else (1, 2)
        target = replace(load("openvino-cpu"), batches=batches).at(precision)
        return export_tiny(f"kept-{strategy}-{precision}", target, strategy=strategy).path

    return export


@pytest.fixture(scope="module", params=KINDS, ids=str)
def exported(request, export):
    """Joined engines of one row; engines of several rows and shapes; and, where there is such, layers in bfloat16."""
    return export(*request.param)


@pytest.fixture
def bundle(exported, tmp_path):
    """A copy that keeps nothing yet."""
    return Path(shutil.copytree(exported, tmp_path / "bundle.edgeflow"))


@pytest.fixture(scope="module")
def built(exported, tmp_path_factory):
    """A copy that keeps its models, and the frames of models that were compiled anew."""
    copy = Path(shutil.copytree(exported, tmp_path_factory.mktemp("built") / "kept.edgeflow"))
    expected = frames(copy)
    keep(copy)
    return copy, expected


@pytest.fixture
def kept(built, tmp_path):
    """A copy of the bundle that keeps its models, in another place."""
    return Path(shutil.copytree(built[0], tmp_path / "kept.edgeflow"))


def folder_of(bundle):
    return engine_folder(bundle, "openvino", openvino_backend.OpenVinoBackend.build)


def keep(bundle):
    return keep_models(open_bundle(bundle), folder_of(bundle), SIZE)


@pytest.fixture
def compiled(monkeypatch):
    """Names of the models that are compiled from now on."""
    names = []
    real = openvino_backend.OpenVinoBackend._compile

    def compile_model(self, model, precision, **options):
        names.append(model.friendly_name)
        return real(self, model, precision, **options)

    monkeypatch.setattr(openvino_backend.OpenVinoBackend, "_compile", compile_model)
    return names


def frames(bundle, **options):
    session = Session(bundle, **options)
    return [session.run(*pair) for pair in pairwise(moving_picture(*SIZE, time) for time in range(3))]


def test_frames_of_kept_models_are_those_of_models_compiled_anew(bundle, compiled):
    expected = frames(bundle)
    count = len(compiled)
    made = keep(bundle)
    assert len(made) == count and not any(model.found for model in made)
    del compiled[:]
    found = frames(bundle)
    assert not compiled
    for one, other in zip(expected, found, strict=True):
        assert one.trace.regions == other.trace.regions
        assert all(map(np.array_equal, one.outputs, other.outputs))


@pytest.mark.skipif(HAS_BF16, reason="this CPU has bf16, and keeps models of it")
def test_models_of_a_precision_that_this_cpu_lacks_are_refused(export):
    path = export("chained", "bf16")
    with pytest.raises(BackendError, match="instead of bf16"):
        keep(path)


def test_weights_are_not_kept_a_second_time(kept):
    size = sum(path.stat().st_size for path in folder_of(kept).iterdir())
    entries = open_bundle(kept).manifest.graphs.values()
    assert size < 0.6 * sum(entry.weight_bytes for entry in entries)


def test_what_is_there_stays(kept, compiled):
    assert all(model.found for model in keep(kept)) and not compiled


def test_other_sizes_of_frames_are_compiled_where_engines_depend_on_them(kept, compiled):
    session = Session(kept)
    session.prepare(120, 160)
    (name,) = compiled
    assert name.startswith("sd_finder")


@pytest.mark.parametrize("harm", ["truncated", "altered", "no record", "record of nothing"])
def test_what_is_damaged_is_compiled_anew(built, kept, compiled, harm):
    blob = sorted(folder_of(kept).glob("*.blob"))[0]
    record = blob.with_name(blob.name + ".json")
    data = blob.read_bytes()
    match harm:
        case "truncated":
            blob.write_bytes(data[: len(data) // 2])
        case "altered":
            blob.write_bytes(data[:-9] + bytes(9))
        case "no record":
            record.unlink()
        case _:
            record.write_text("[]")
    found = frames(kept)
    assert len(compiled) == 1
    assert all(np.array_equal(a.outputs[0], b.outputs[0]) for a, b in zip(built[1], found, strict=True))
    assert [model.name for model in keep(kept) if not model.found] == [blob.name]
    del compiled[:]
    assert frames(kept) and not compiled


def test_a_whole_file_that_the_library_refuses_is_named(kept):
    content = f"no model of {kept}".encode()
    for blob in folder_of(kept).glob("*.blob"):
        blob.write_bytes(content)
        record = blob.with_name(blob.name + ".json")
        digest = sha256(content).hexdigest()
        record.write_text(json.dumps({**json.loads(record.read_text()), "sha256": digest}))
    Session(kept).prepare(*SIZE)  # it came from elsewhere, so it is not even looked at
    record_built(digest)
    with pytest.raises(BackendError, match=r"refuses the model kept for .*edgeflow build --anew"):
        Session(kept).prepare(*SIZE)


def test_models_of_other_weights_are_not_taken(kept, compiled):
    """As after an export of a retrained model over the bundle, whose engines someone copied back."""
    manifest = json.loads((kept / "manifest.json").read_text())
    manifest["files"]["graphs/weights.bin"]["sha256"] = "0" * 64
    (kept / "manifest.json").write_text(json.dumps(manifest))
    Session(open_bundle(kept, verify=False)).prepare(*SIZE)
    assert compiled


@pytest.mark.parametrize(
    ("owner", "name"), [(openvino_backend.OpenVinoBackend, "build"), (edgeflow, "__version__")], ids=str
)
def test_models_of_another_version_are_not_taken(kept, compiled, monkeypatch, owner, name):
    monkeypatch.setattr(owner, name, "2030.1-1")
    assert frames(kept) and compiled


def test_other_threads_run_what_is_kept(kept, compiled):
    session = Session(kept, threads=1)
    session.prepare(*SIZE)
    engines = [graph.engine for graph in session.executor.loaded.values()]
    for engine in engines:
        assert engine._requests.compiled.get_property("INFERENCE_NUM_THREADS") == 1
    alone = {id(engine) for engine in engines if engine._route is None}
    assert len(compiled) == (
        0 if len(alone) == len(set(map(id, engines))) else 1
    )  # other threads join other graphs


def test_frames_for_comparison_are_not_those_that_are_kept(kept):
    """They come out before rounding: of these no model is kept."""
    (first, *_) = frames(kept, exact=True)
    assert first.outputs[0].dtype == np.float32


def test_a_bundle_that_cannot_be_written_to_says_so(bundle):
    (bundle / "engines").write_text("in the way")
    with pytest.raises(BundleError, match=r"cannot write .*engines.*make the bundle writable"):
        keep(bundle)


def test_a_bundle_for_any_size_needs_one(bundle):
    with pytest.raises(InputError, match="give --size WIDTHxHEIGHT"):
        keep_models(open_bundle(bundle), folder_of(bundle))


def test_a_graph_without_outer_weights_keeps_its_own(tmp_path):
    """Such a file's constants were looked for in the file of weights, where others lie: refused, or wrong without a word."""
    model = small("Shortcut")
    path = compile_kept(model, load("openvino-cpu"), tmp_path / "m.edgeflow", reference={}).path
    clip = [moving_picture(16, 24, 5 * time) for time in range(4)]
    session = Session(path, exact=True)
    expected = [session(frame) for frame in clip]
    made = keep_models(open_bundle(path), folder_of(path), (16, 24))
    assert any(b"weights.bin" not in file.read_bytes() for file in (path / "graphs").glob("*.onnx"))
    session = Session(path, exact=True)
    assert made and all(
        np.allclose(session(frame), was, atol=1e-6) for frame, was in zip(clip, expected, strict=True)
    )
