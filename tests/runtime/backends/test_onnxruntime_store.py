"""Graphs that ONNX Runtime optimised, and that a bundle keeps for the machine that it is on."""

import json
import shutil
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import edgeflow
from edgeflow.export.sample import moving_picture
from edgeflow.ir.bundle.built_here import record_built
from edgeflow.ir.errors import BackendError, BundleError
from edgeflow.runtime import Session, open_bundle
from edgeflow.runtime.backends.base import GraphFile
from edgeflow.runtime.backends.compiled_from import CompiledFrom, engine_folder
from edgeflow.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from edgeflow.runtime.backends.onnxruntime_store import SMALL, keep_optimised, weight_files
from edgeflow.runtime.keep import keep_models
from edgeflow.runtime.kept_engines import kept_engines, loose_weights
from edgeflow.runtime.measure.profile import profile
from edgeflow.targets import load

pytestmark = pytest.mark.slow

SIZE = (200, 310)


@pytest.fixture(scope="module")
def exported(export_tiny):
    """Engines that read the same weights: one per route."""
    return export_tiny("kept-optimised", load("cpu"), strategy="routes").path


@pytest.fixture(scope="module")
def built(exported, tmp_path_factory):
    """A copy that keeps its graphs, and the frames of graphs that were optimised anew."""
    copy = Path(shutil.copytree(exported, tmp_path_factory.mktemp("built") / "kept.edgeflow"))
    expected = frames(copy)
    keep(copy)
    return copy, expected


@pytest.fixture
def kept(built, tmp_path):
    """A copy of the bundle that keeps its graphs, in another place."""
    return Path(shutil.copytree(built[0], tmp_path / "kept.edgeflow"))


@pytest.fixture
def opened(monkeypatch):
    """Graphs of the bundle that are opened from now on, and not what is kept of them."""
    names = []
    real = OnnxRuntimeBackend._open

    def open_graph(self, path, options, name):
        if path.parent.name == "graphs":
            names.append(path.name)
        return real(self, path, options, name)

    monkeypatch.setattr(OnnxRuntimeBackend, "_open", open_graph)
    return names


def folder_of(bundle):
    return engine_folder(bundle, "onnxruntime", OnnxRuntimeBackend.build)


def keep(bundle):
    return keep_models(open_bundle(bundle), folder_of(bundle), SIZE)


def weights_in(bundle):
    return sorted(path for path in folder_of(bundle).iterdir() if len(path.name) == 64)


def frames(bundle, **options):
    session = Session(bundle, **options)
    return [session.run(*pair) for pair in pairwise(moving_picture(*SIZE, time) for time in range(3))]


def same(expected, found):
    return all(np.array_equal(a.outputs[0], b.outputs[0]) for a, b in zip(expected, found, strict=True))


def test_frames_of_kept_graphs_are_those_of_graphs_optimised_anew(built, kept, opened):
    found = frames(kept)
    assert not opened and same(built[1], found)
    assert [one.trace.regions for one in built[1]] == [one.trace.regions for one in found]


def test_a_weight_that_several_engines_read_is_kept_once(kept):
    read = [
        name
        for path in folder_of(kept).glob("*.onnx")
        for name in sorted(set(weight_files(path.read_bytes())))
    ]
    assert {path.name for path in weights_in(kept)} == set(read) and len(read) > 2 * len(set(read))
    assert all(sha256(path.read_bytes()).hexdigest() == path.name for path in weights_in(kept))
    assert all(path.stat().st_size >= SMALL for path in weights_in(kept))


def test_what_is_there_stays(kept, opened):
    assert all(graph.found for graph in keep(kept)) and not opened


@pytest.mark.parametrize(
    "harm",
    [
        "truncated",
        "altered",
        "no record",
        "record of nothing",
        "no weight",
        "weight altered",
        "weight truncated",
    ],
)
def test_what_is_damaged_is_optimised_anew(built, kept, opened, harm):
    graph = max(folder_of(kept).glob("*.onnx"), key=lambda path: len(set(weight_files(path.read_bytes()))))
    record = graph.with_name(f"{graph.name}.json")
    weight = graph.with_name(next(iter(weight_files(graph.read_bytes()))))
    match harm:
        case "truncated":
            graph.write_bytes(graph.read_bytes()[:-100])
        case "altered":
            graph.write_bytes(graph.read_bytes()[:-9] + bytes(9))
        case "no record":
            record.unlink()
        case "record of nothing":
            record.write_text("[]")
        case "no weight":
            weight.unlink()
        case "weight altered":
            weight.write_bytes(bytes(weight.stat().st_size))
        case _:
            weight.write_bytes(weight.read_bytes()[:-4])
    found = frames(kept)
    assert opened and same(built[1], found)
    assert any(not made.found for made in keep(kept))
    del opened[:]
    assert same(built[1], frames(kept)) and not opened


def test_graphs_that_were_made_elsewhere_are_not_taken(built, kept, opened, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEFLOW_CACHE", str(tmp_path / "of-another"))
    assert same(built[1], frames(kept)) and opened
    assert {engine.stale for engine in kept_engines(open_bundle(kept))} == {
        "this machine's `edgeflow build` did not make it"
    }


def test_a_whole_file_that_the_library_refuses_is_named(kept):
    content = f"no graph of {kept}".encode()
    digest = sha256(content).hexdigest()
    for graph in folder_of(kept).glob("*.onnx"):
        graph.write_bytes(content)
        record = graph.with_name(f"{graph.name}.json")
        record.write_text(json.dumps({**json.loads(record.read_text()), "sha256": digest}))
    Session(kept).prepare(*SIZE)  # it came from elsewhere, so it is not even looked at
    record_built(digest)
    with pytest.raises(BackendError, match=r"refuses the model kept for .*edgeflow build --anew"):
        Session(kept).prepare(*SIZE)


@pytest.mark.parametrize(
    ("owner", "name"), [(OnnxRuntimeBackend, "build"), (edgeflow, "__version__")], ids=str
)
def test_graphs_of_another_version_are_not_taken(kept, opened, monkeypatch, owner, name):
    monkeypatch.setattr(owner, name, "2030.1-1")
    assert frames(kept) and opened


def test_a_release_that_writes_graphs_in_another_way_is_refused(kept):
    entry = next(iter(next(iter(open_bundle(kept).manifest.plans.values())).graphs))
    graph = GraphFile(kept / "graphs" / f"{entry.graph}.onnx", entry.inputs, entry.outputs)

    def optimise(path, weights):
        path.write_bytes(b"the weights are in " + weights.encode())

    with pytest.raises(
        BackendError, match="in another way than edgeflow knows: run the bundle without a build"
    ):
        keep_optimised(CompiledFrom((graph,), {}, "fp32", 1), "some-build", optimise)


def test_a_bundle_that_cannot_be_written_to_says_so(exported, tmp_path):
    bundle = Path(shutil.copytree(exported, tmp_path / "bundle.edgeflow"))
    (bundle / "engines").write_text("in the way")
    with pytest.raises(BundleError, match=r"cannot write .*engines.*make the bundle writable"):
        keep(bundle)


def test_profiles_time_what_is_kept(kept, opened):
    profile(open_bundle(kept), [moving_picture(*SIZE, time) for time in range(5)])
    assert not opened


def test_weights_go_with_the_last_engine_that_reads_them(kept):
    engines = kept_engines(open_bundle(kept))
    assert {engine.stale for engine in engines} == {""}
    assert sum(engine.bytes for engine in engines) == sum(
        path.stat().st_size for path in folder_of(kept).iterdir()
    )
    first, *others = engines
    first.remove()
    left = {name for path in folder_of(kept).glob("*.onnx") for name in weight_files(path.read_bytes())}
    assert left == {path.name for path in weights_in(kept)}
    for engine in others:
        engine.remove()
    assert not list(folder_of(kept).iterdir())


def test_weights_that_a_stopped_build_left_are_found(kept):
    assert loose_weights(open_bundle(kept)) == ()
    left = folder_of(kept) / ("0" * 64)
    left.write_bytes(b"left")
    (folder_of(kept) / "mine.txt").write_bytes(b"of someone's own")
    assert loose_weights(open_bundle(kept)) == (left,)
