"""Bundles from strangers: whatever stands in them, they are refused in one line, or are what they say."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeflow.ir.arrays import read_arrays
from edgeflow.ir.bundle import MANIFEST, WEIGHTS, manifest_from_json, open_bundle
from edgeflow.ir.bundle.built_here import record_built, was_built_here
from edgeflow.ir.errors import BundleError, EdgeflowError
from edgeflow.ir.onnx_file import read_onnx
from edgeflow.runtime import Session
from edgeflow.runtime.check import check
from edgeflow.runtime.stream import room

COMPAT = Path(__file__).parents[2] / "compat"


def unpacked(name: str, folder: Path) -> Path:
    with zipfile.ZipFile(COMPAT / f"{name}.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def bundle(tmp_path):
    return unpacked("1.5-shortcut", tmp_path / "model.edgeflow")


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    """Good manifests of the newest schema and an older one, as plain data."""
    folder = tmp_path_factory.mktemp("manifests")
    found = []
    for name in ("1.5-patchwork", "1.5-shortcut", "1.0-shortcut"):
        found.append(json.loads((unpacked(name, folder / name) / MANIFEST).read_text()))
    return found


def rewrite(bundle: Path, change: Any) -> None:
    """Change a manifest, and make its hashes right."""
    data = json.loads((bundle / MANIFEST).read_text())
    change(data)
    for name, entry in data["files"].items():
        if (bundle / name).is_file():
            content = (bundle / name).read_bytes()
            entry.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    (bundle / MANIFEST).write_text(json.dumps(data))


def refused(bundle: Path, *wanted: str) -> None:
    with pytest.raises(BundleError) as caught:
        open_bundle(bundle)
    assert "\n" not in str(caught.value) and all(part in str(caught.value) for part in wanted), caught.value


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["frame", "tiles", "../x", "x" * 5000, "\ud800", "a\nb"]),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=4),
        lambda own: st.lists(own, max_size=4) | st.dictionaries(st.text(max_size=4), own, max_size=3),
        max_leaves=8,
    ),
)


pytestmark = pytest.mark.filterwarnings(
    "ignore:Generating overly large repr"
)  # some of the odd values are meant to be large


def places(data: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in plain data."""
    found, waiting = [], [data]
    while waiting:
        own = waiting.pop()
        for key, value in (
            own.items() if isinstance(own, dict) else enumerate(own) if isinstance(own, list) else ()
        ):
            found.append((own, key))
            waiting.append(value)
    return found


@pytest.mark.slow
@settings(max_examples=600)
@given(
    which=st.integers(0, 2),
    picks=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 3), ODD), min_size=1, max_size=3),
)
def test_any_change_of_any_field_is_refused_in_one_line_or_harmless(manifests, which, picks):
    data = copy.deepcopy(manifests[which])
    for place, how, odd in picks:
        spots = places(data)
        if not spots:
            break
        container, key = spots[place % len(spots)]
        if how == 0:
            del container[key]
        elif how == 1:
            other, source = spots[(place // 7) % len(spots)]
            container[key] = copy.deepcopy(other[source])
        else:
            container[key] = odd
    try:
        manifest_from_json(data, "b")
    except EdgeflowError as error:
        assert "\n" not in str(error) and len(str(error)) < 20_000
        assert isinstance(error, BundleError)


@settings(max_examples=150)
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=8),
    cut=st.integers(0, 5),
)
def test_any_bytes_of_a_graph_are_read_or_refused(tmp_path_factory, flips, cut):
    folder = tmp_path_factory.mktemp("graph")
    source = next((unpacked("1.5-shortcut", folder / "b") / "graphs").glob("*.onnx"))
    data = bytearray(source.read_bytes())
    for place, bit in flips:
        data[int(place * len(data))] ^= 1 << bit
    source.write_bytes(data[: len(data) - cut * len(data) // 8])
    try:
        read_onnx(source)
    except ValueError as error:
        assert len(str(error)) < 200


def test_all_faults_are_said_at_once_with_their_places(bundle):
    def change(data):
        data["target"]["precision"] = "fp7"
        data["plans"]["any"]["steps"][0]["regions"] = 3
        data["files"][WEIGHTS]["bytes"] = -1

    data = json.loads((bundle / MANIFEST).read_text())
    change(data)
    (bundle / MANIFEST).write_text(json.dumps(data))
    refused(bundle, "target.precision: ", "plans.any.steps[0].regions: ", f"files.{WEIGHTS}.bytes: ")


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda plan, graph: graph["batches"].append(10**9), "batches[1]: a whole number from 1 to 4096"),
        (
            lambda plan, graph: graph["inputs"][0][2].append(10**12),
            "inputs[0][2][3]: a whole number from 1 to",
        ),
        (
            lambda plan, graph: graph["inputs"][0].__setitem__(0, "nowhere"),
            "it reads 'nowhere' before it is made",
        ),
        (lambda plan, graph: graph["inputs"][0].__setitem__(3, "float64"), "one of 'uint8', 'float32'"),
        (lambda plan, graph: graph.update(graph="../evil"), "a bare name of letters"),
        (
            lambda plan, graph: graph.update(select=["in", "nowhere", [1]]),
            "it asks for 'nowhere' before that is decided",
        ),
        (lambda plan, graph: graph.update(select=[["true"]]), "a condition is wanted"),
        (lambda plan, graph: graph["outputs"][0].__setitem__(2, [7]), "its value is not"),
        (lambda plan, graph: graph["outputs"][0].__setitem__(2, [1 << 20] * 3), "is larger than"),
        (
            lambda plan, graph: graph.update(kept=[["shortcut", "frame"]]),
            "'frame' cannot stand for 'shortcut'",
        ),
        (
            lambda plan, graph: next(s for s in plan["steps"] if s["kind"] == "stage")["graphs"].append(
                graph
            ),
            "two of its graphs run at",
        ),
        (
            lambda plan, graph: plan["steps"].append(
                {"kind": "keep", "state": "none", "input": "frame", "when": ["true"]}
            ),
            "there is no state 'none'",
        ),
        (lambda plan, graph: plan["states"][0].update(shape=[1, 1, 1]), "cannot be kept"),
        (lambda plan, graph: plan["results"].append("x"), "results"),
    ],
)
def test_what_a_plan_may_not_say(bundle, change, wanted):
    def apply(data):
        plan = data["plans"]["any"]
        graph = next(step for step in plan["steps"] if step["kind"] == "stage")["graphs"][0]
        change(plan, graph)

    rewrite(bundle, apply)
    refused(bundle, wanted)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda tile, stage: tile.update(size="16"), "size: a whole number"),
        (lambda tile, stage: tile.update(size=0), "size: a whole number"),
        (lambda tile, stage: stage["graphs"][0].update(exact=[]), "exact has one port for each image output"),
    ],
)
def test_what_tiles_and_pictures_may_not_say(tmp_path, change, wanted):
    bundle = unpacked("1.7-patchwork", tmp_path / "model.edgeflow")

    def apply(data):
        for plan in data["plans"].values():
            stages = [step for step in plan["steps"] if step["kind"] == "stage"]
            change(next(step for step in plan["steps"] if step["kind"] == "tile"), stages[-1])

    rewrite(bundle, apply)
    refused(bundle, wanted)


@pytest.mark.parametrize(
    ("offset", "wanted"),
    [
        (1152, "its kernel reads other weights than the graph"),
        (1 << 40, "of its kernel lies outside graphs/weights.bin"),
    ],
)
def test_a_kernel_reads_the_weights_of_the_graph_that_it_stands_for(bundle, offset, wanted):
    """Others would give other pictures, or be read beyond their end."""

    def change(data):
        for entry in data["graphs"].values():
            constants = [{"name": "weight", "offset": offset, "shape": [1, 1, 1, 1]}]
            entry["kernel"] = {"name": "adabd", "constants": constants}

    rewrite(bundle, change)
    refused(bundle, wanted)


def test_a_frame_too_large_for_the_memory_says_what_would_fit(tmp_path, monkeypatch):
    bundle = unpacked("1.7-patchwork", tmp_path / "model.edgeflow")
    session = Session(bundle, threads=1)
    session.run(np.zeros((40, 56, 3), np.uint8))
    monkeypatch.setattr(room, "available_bytes", lambda: 1 << 18)
    with pytest.raises(
        EdgeflowError, match=r"a frame of 200x160 needs .* are free: frames of about \d+x\d+ would fit"
    ):
        session.run(np.zeros((160, 200, 3), np.uint8))


@pytest.mark.parametrize("text", ['{"a": ' + "9" * 5000 + "}", "[" * 100_000, '{"a": NaN', "\x00"])
def test_json_that_takes_parsers_down(bundle, text):
    (bundle / MANIFEST).write_text(text)
    refused(bundle, "manifest.json")


def test_a_manifest_that_is_no_file_or_too_large(bundle):
    manifest = bundle / MANIFEST
    with manifest.open("wb") as file:
        file.truncate(1 << 30)
    refused(bundle, "bytes, at most")
    manifest.unlink()
    os.mkfifo(manifest)
    start = perf_counter()
    refused(bundle, "no regular file")
    assert perf_counter() - start < 5
    manifest.unlink()
    manifest.symlink_to("/etc/hostname")
    refused(bundle, "is not a bundle")


@pytest.mark.parametrize("what", ["file", "folder", "pipe"])
def test_files_are_regular_ones_in_the_bundle(bundle, tmp_path, what):
    path = bundle / WEIGHTS
    if what == "folder":
        (bundle / "graphs").rename(tmp_path / "graphs")
        (bundle / "graphs").symlink_to(tmp_path / "graphs")
    else:
        path.rename(tmp_path / "outside")
        path.symlink_to(tmp_path / "outside") if what == "file" else os.mkfifo(path)
    refused(bundle, "do not trust this bundle")


def test_data_of_a_graph_lies_in_the_bundle(bundle):
    """Older engine libraries follow any location; so we look ourselves."""
    graph = next(path for path in (bundle / "graphs").glob("*.onnx") if b"weights.bin" in path.read_bytes())
    graph.write_bytes(graph.read_bytes().replace(b"weights.bin", b"../../x.bin"))
    rewrite(bundle, lambda data: None)
    refused(bundle, "lies in '../../x.bin', outside the bundle's weights")


def test_data_of_a_graph_does_not_reach_beyond_the_weights(bundle):
    data = (bundle / WEIGHTS).read_bytes()
    (bundle / WEIGHTS).write_bytes(data[: len(data) // 2])
    rewrite(bundle, lambda data: None)
    refused(bundle, "beyond the end of the weights")


def test_ports_are_compared_with_the_graph(bundle):
    def change(data):
        for step in data["plans"]["any"]["steps"]:
            for graph in step.get("graphs", ()):
                graph["inputs"][0][1] = "another"

    rewrite(bundle, change)
    refused(bundle, "it has no input 'another'")


def archive(path: Path, header: dict[str, Any] | bytes, body: bytes) -> None:
    """An archive with one array whose header says what it likes."""
    file = io.BytesIO()
    if isinstance(header, dict):
        np.lib.format.write_array_header_1_0(file, header)
    else:
        file.write(header)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a.npy", file.getvalue() + body)


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ({"descr": "<f4", "fortran_order": False, "shape": (10**10,)}, b"x" * 100),
        ({"descr": "<f4", "fortran_order": False, "shape": (100,)}, b"x" * 100),
        ({"descr": "|O", "fortran_order": False, "shape": (1,)}, b"x" * 100),
        ({"descr": "<f4", "fortran_order": False, "shape": (-1,)}, b"x" * 100),
        (b"\x93NUMPY\x01\x00\x05\x00(((((", b""),
        (b"nothing", b""),
    ],
)
def test_arrays_are_not_larger_than_their_file(tmp_path, header, body):
    archive(tmp_path / "a.npz", header, body)
    with pytest.raises(BundleError, match="cannot be read"):
        read_arrays(tmp_path / "a.npz")


def test_arrays_are_read_as_numpy_reads_them(tmp_path, random):
    wanted = {
        "a": random.normal(size=(2, 3)).astype(np.float32),
        "b/c": np.asfortranarray(np.eye(3)),
        "d": np.array(True),
    }
    np.savez_compressed(tmp_path / "a.npz", **wanted)
    found = read_arrays(tmp_path / "a.npz")
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("change", ["shape", "missing", "damaged", "nan"])
def test_goldens_that_lie(bundle, change):
    opened = open_bundle(bundle)
    path = bundle / opened.manifest.plans["any"].graphs[0].golden
    arrays = read_arrays(path)
    if change == "damaged":
        path.write_bytes(path.read_bytes()[:100])
    else:
        name = next(name for name in arrays if name.startswith("in." if change != "nan" else "out."))
        array = arrays.pop(name)
        if change != "missing":
            arrays[name] = array[:, :1] if change == "shape" else np.full_like(array, np.nan)
        np.savez(path, **arrays)
    rewrite(bundle, lambda data: None)
    if change == "nan":
        assert not check(open_bundle(bundle), threads=1).passed
    else:
        with pytest.raises(BundleError):
            check(open_bundle(bundle), threads=1)


def test_what_an_engine_raises_becomes_ours(bundle):
    """Ports are right, but the engine does what nobody can see beforehand."""
    session = Session(bundle, threads=1)
    frame = np.zeros((16, 24, 3), np.uint8)
    session.run(frame)

    def run(inputs, outputs):
        raise RuntimeError("Failed to allocate memory\nfor requested buffer of size 4398046511104")

    for loaded in session.executor.loaded.values():
        loaded.engine.run = run
    with pytest.raises(
        EdgeflowError, match=r"cannot run on inputs of .*Failed to allocate memory for requested"
    ) as caught:
        session.run(frame)
    assert "\n" not in str(caught.value)


def test_only_what_was_built_here_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEFLOW_CACHE", str(tmp_path))
    assert not was_built_here("a" * 64)
    record_built("a" * 64)
    assert was_built_here("a" * 64) and not was_built_here("b" * 64)
    assert (tmp_path / "built").stat().st_mode & 0o077 == 0
    monkeypatch.setenv("EDGEFLOW_CACHE", "")
    assert not was_built_here("a" * 64)
    with pytest.raises(BundleError, match="set EDGEFLOW_CACHE to one"):
        record_built("a" * 64)
