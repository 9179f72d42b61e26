"""Building and running TensorRT engines, driven through a double of its API (tests/doubles/tensorrt.py).

What the double proves is edgeflow's side: arguments, lifetimes, order, and what happens when a call fails.
TensorRT itself runs none of this.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeflow.ir.bundle import open_bundle
from edgeflow.ir.bundle.built_here import record_built
from edgeflow.ir.errors import BackendError
from edgeflow.ir.files import sha256_of
from edgeflow.runtime import Session
from edgeflow.runtime.check import check
from edgeflow.targets import nvidia

pytestmark = pytest.mark.slow

DEVICE = nvidia.Nvidia("a double", "8.7", "12.6", "12.6", False, 4 << 30, 8 << 30)


@pytest.fixture
def bundle(tensorrt_bundle, tmp_path):
    """A copy of a bundle with state that may be built in."""

    def copy(name="Shortcut", precision="fp16"):
        made = tensorrt_bundle(name, precision)
        return shutil.copytree(made, tmp_path / f"{name}.edgeflow", dirs_exist_ok=True)

    return copy


def build(path, dims=None, **options):
    from edgeflow.targets.tensorrt_bundle import Site, build_bundle

    opened = open_bundle(path)
    site = Site(**{"device": nvidia.find(), "version": "10.3.0", "free_bytes": lambda: 4 << 30, **options})
    return build_bundle(opened, [(plan, dims or {}) for plan in opened.manifest.plans.values()], site)


@pytest.mark.parametrize(("name", "dims"), [("Shortcut", {}), ("Patchwork", {"height": 40, "width": 56})])
def test_a_built_bundle_agrees_with_its_goldens(machine, bundle, name, dims):
    path = bundle(name)
    built = build(path, dims)
    assert built and not any(one.found for one in built)
    inputs = next(iter(open_bundle(path).manifest.plans.values())).inputs
    random = np.random.default_rng(0)
    sizes = {"height": 40, "width": 56} | dims
    theirs, ours = Session(path, library="onnxruntime"), Session(path)
    for _ in range(5):
        frame = [
            random.integers(0, 256, (*(sizes.get(d, d) for d in spec.shape[1:]), 3), dtype=np.uint8)
            for spec in inputs
        ]
        wanted, made = theirs.run(*frame), ours.run(*frame)
        assert made.trace.choices == wanted.trace.choices
        np.testing.assert_array_equal(made.outputs[0], wanted.outputs[0])
    assert machine.cudart.launches > 0, "no run became a CUDA graph"
    if not dims:
        assert check(open_bundle(path)).passed


def test_bfloat16_travels_between_engines_as_it_is(machine, bundle, monkeypatch):
    monkeypatch.setenv("EDGEFLOW_TENSORRT_VERSION", "10.16.0")
    path = bundle("Shortcut", "bf16")
    build(path, version="10.16.0")
    records = [json.loads(file.read_text()) for file in path.glob("engines/*/*.engine.json")]
    assert records and all(record["layers"]["bf16"] for record in records)
    monkeypatch.setattr(machine.tensorrt, "__version__", "10.16.0")
    monkeypatch.setattr("edgeflow.runtime.backends.tensorrt_backend.TensorRtBackend.version", "10.16.0")
    random = np.random.default_rng(0)
    theirs, ours = Session(path, library="openvino"), Session(path)
    for _ in range(5):
        frame = random.integers(0, 256, (16, 24, 3), dtype=np.uint8)
        wanted, made = theirs.run(frame), ours.run(frame)
        assert made.trace.choices == wanted.trace.choices
        np.testing.assert_array_equal(made.outputs[0], wanted.outputs[0])
    assert check(open_bundle(path)).passed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"version": "10.3.0"},
            r"TensorRT 10.3.0 does not take bf16, releases from 10.6 on do: update it, or export with --precision",
        ),
        (
            {"version": "10.16.0", "device": replace(DEVICE, compute_capability="7.5")},
            r"compute capability 7.5\) has no bfloat16, devices from 8.0 on do: .* export with --precision fp16",
        ),
    ],
)
def test_bfloat16_is_refused_where_there_is_none(machine, bundle, change, message):
    with pytest.raises(BackendError, match=message):
        build(bundle("Shortcut", "bf16"), **change)


def test_what_is_there_is_kept_and_what_is_missing_is_built(machine, bundle):
    path = bundle()
    names = [one.name for one in build(path)]
    (folder,) = (path / "engines").iterdir()
    (folder / f"{names[0]}.engine").unlink()
    with (folder / f"{names[1]}.engine").open("r+b") as file:
        file.truncate(100)
    assert [one.found for one in build(path)] == [False, False, *[True] * (len(names) - 2)]
    assert all(one.found for one in build(path))


def test_an_engine_of_another_graph_is_never_run(machine, bundle):
    path = bundle()
    names = [one.name for one in build(path)]
    manifest = json.loads((path / "manifest.json").read_text())
    name, entry = next(iter(manifest["graphs"].items()))
    graph = path / entry["file"]
    graph.write_bytes(graph.read_bytes() + b"\x0a\x00")
    import hashlib

    data = graph.read_bytes()
    manifest["files"][entry["file"]] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BackendError, match=rf"{name} has no engine .* run `edgeflow build"):
        Session(path).prepare(16, 24)
    assert [one.found for one in build(path)].count(False) == 1 < len(names)


def test_a_device_without_engines_says_how_to_get_them(machine, bundle):
    with pytest.raises(BackendError, match=r"has no engine for .* run `edgeflow build"):
        Session(bundle()).prepare(16, 24)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("parser", "Mystery 0/Mystery_3: no importer registered for op"),
        ("build", "no engine could be built: Could not find any implementation for node Conv_0"),
        ("killed", "want of memory: close other programs, or add swap"),
        ("segv", "stopped by SIGSEGV"),
        ("builder", "does not start: CUDA initialization failure"),
        ("deserialise", "cannot be read back: version mismatch"),
    ],
)
def test_a_build_that_fails_says_why_and_leaves_no_engine(machine, bundle, fault, message):
    path = bundle()
    machine.fault(fault)
    with pytest.raises(BackendError, match=message):
        build(path)
    assert not list(path.glob("engines/*/*.engine"))
    machine.fault("")
    assert build(path)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("deserialise", "refuses .*: version mismatch; run `edgeflow build` again"),
        ("address", "refuses the address of"),
        ("context", "could not make an execution context: .* memory is full"),
        ("runtime", "does not start: CUDA initialization failure"),
    ],
)
def test_an_engine_that_does_not_run_says_what_to_do(machine, bundle, fault, message):
    path = bundle()
    build(path)
    machine.fault(fault)
    with pytest.raises(BackendError, match=message):
        Session(path).run(np.zeros((16, 24, 3), np.uint8))


def test_engines_that_cannot_be_captured_are_enqueued(machine, bundle):
    path = bundle()
    build(path)
    machine.fault("capture")
    session = Session(path)
    pictures = [session(np.full((16, 24, 3), 90, np.uint8)) for _ in range(4)]
    assert machine.cudart.launches == 0
    theirs = Session(path, library="onnxruntime")
    np.testing.assert_array_equal(
        pictures[-1], [theirs(np.full((16, 24, 3), 90, np.uint8)) for _ in range(4)][-1]
    )


def test_the_timing_cache_of_another_device_is_replaced(machine, bundle, tmp_path, monkeypatch):
    path = bundle()
    monkeypatch.setenv("EDGEFLOW_TENSORRT_LOG", str(tmp_path / "log"))
    from edgeflow.targets.tensorrt_bundle import engine_folder

    folder = engine_folder(path, nvidia.find(), "10.3.0")
    folder.mkdir(parents=True)
    (folder / "timing.cache").write_bytes(b"of another device")
    build(path)
    caches = [line.split(" ", 1)[1] for line in (tmp_path / "log").read_text().splitlines()]
    assert caches[0] == "b''" and set(caches[1:]) == {"b'measured'"}


def test_a_damaged_timing_cache_is_replaced(machine, bundle):
    from edgeflow.targets.tensorrt_bundle import engine_folder

    path = bundle()
    folder = engine_folder(path, nvidia.find(), "10.3.0")
    folder.mkdir(parents=True)
    (folder / "timing.cache").write_bytes(b"garbage")
    assert build(path)
    assert (folder / "timing.cache").read_bytes() == b"measured"


def test_an_engine_that_this_tensorrt_refuses_is_built_again(machine, bundle):
    path = bundle()
    names = [one.name for one in build(path)]
    (folder,) = (path / "engines").iterdir()
    file = folder / f"{names[0]}.engine"
    file.write_bytes(b"of another build of TensorRT")
    record = json.loads((folder / f"{names[0]}.engine.json").read_text())
    record |= {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
    (folder / f"{names[0]}.engine.json").write_text(json.dumps(record))
    record_built(record["sha256"])
    with pytest.raises(BackendError, match=r"refuses .*: version mismatch; run `edgeflow build` again"):
        Session(path).run(np.zeros((16, 24, 3), np.uint8))
    assert [one.found for one in build(path)] == [False, *[True] * (len(names) - 1)]
    assert check(open_bundle(path)).passed


def test_engines_write_what_is_wanted_alone(machine, bundle):
    """Pictures before rounding, four times the bytes, are written by engines of their own, for checks."""
    path = bundle("Patchwork")
    names = {one.name for one in build(path, {"height": 40, "width": 56})}
    exact = {name for name in names if name.endswith("-exact")}
    assert exact and {name.removesuffix("-exact") for name in exact} < names
    for file in path.glob("engines/*/*.engine.json"):
        written = json.loads(file.read_text())["outputs"]
        assert any(name.endswith(".exact") for name in written) == file.name.endswith("-exact.engine.json")
    session = Session(path)
    session.prepare(40, 56)
    for graph in session.executor.loaded.values():
        engine = graph.engine._engine
        tensors = {engine.get_tensor_name(i) for i in range(engine.num_io_tensors)}
        assert tensors == {port.tensor for port in (*graph.graph.inputs, *graph.outputs)}


def test_what_memory_was_too_short_for_is_remarked(machine, bundle):
    machine.fault("skipped")
    built = build(bundle())
    assert all("1 tactics were skipped for want of memory" in one.remarks[0] for one in built)


def test_types_that_differ_are_a_remark(machine, bundle):
    """In a strongly typed network the graph says the types; an engine that was fused into one node shows few of them."""
    machine.fault("precision")
    remarks = [remark for one in build(bundle()) for remark in one.remarks]
    assert any("no layer says that it writes fp16" in remark for remark in remarks)


def test_a_builder_ends_with_the_build_that_started_it(machine, bundle, tmp_path):
    path = bundle()
    machine.fault("slow")
    code = (
        "import sys; from edgeflow.ir.bundle import open_bundle; from edgeflow.targets import nvidia\n"
        "from edgeflow.targets.tensorrt_bundle import Site, build_bundle\n"
        "device = nvidia.Nvidia('a double', '8.7', '12.6', '12.6', False, 4 << 30, 8 << 30)\n"
        "opened = open_bundle(sys.argv[1])\n"
        "site = Site(device, '10.3.0', free_bytes=lambda: 1 << 30)\n"
        "build_bundle(opened, [(plan, {}) for plan in opened.manifest.plans.values()], site)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(path)])
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    child = wait_for(lambda: children.read_text().split())[0]
    parent.kill()
    parent.wait()
    assert wait_for(lambda: not Path(f"/proc/{child}").exists() or "Z" in state_of(child))


def wait_for(found, seconds=20.0):
    """What `found` returns as soon as that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(0.02)
    raise AssertionError("it did not come")


def state_of(process):
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]


@pytest.mark.parametrize("version", ["8.6.2", "10.0.1"])
def test_an_old_tensorrt_is_refused_with_the_jetpack_that_has_a_newer(machine, bundle, monkeypatch, version):
    monkeypatch.setenv("EDGEFLOW_TENSORRT_VERSION", version)
    with pytest.raises(BackendError, match=r"JetPack 6.1 has 10.3"):
        build(bundle())


def test_tensorrt_11_reads_and_reports_the_same(machine, bundle, monkeypatch):
    monkeypatch.setenv("EDGEFLOW_TENSORRT_VERSION", "11.4.0")
    path = bundle()
    assert build(path, version="11.4.0")
    record = json.loads(next(path.glob("engines/*/*.engine.json")).read_text())
    assert set(record["layers"]) <= {"fp16", "fp32", "other"} and record["layers"]["fp16"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "12.0.0"}, "TensorRT 12.0.0 is not among the releases .* desktop-gpu is for"),
        ({"device": replace(DEVICE, free_bytes=100 << 20)}, "100 MB of memory free, a build needs 512 MB"),
    ],
)
def test_a_device_that_cannot_finish_a_bundle(machine, bundle, change, message):
    with pytest.raises(BackendError, match=message):
        build(bundle(), **change)


def test_a_bundle_for_another_target_needs_no_build(machine, small_bundle):
    _, compiled = small_bundle("Shortcut", "chained")
    with pytest.raises(BackendError, match=r"is for cpu .onnxruntime., which needs no build"):
        build(compiled.path)


def test_frames_of_any_size_must_be_given_one(machine, bundle):
    with pytest.raises(BackendError, match="engines are static: give the frames' size with --size"):
        build(bundle("Patchwork"))


def test_a_full_device_is_told(machine, bundle):
    path = bundle()
    build(path)
    machine.cudart.total = 1000
    with pytest.raises(BackendError, match="out of memory"):
        Session(path).run(np.zeros((16, 24, 3), np.uint8))


def test_the_command_builds_checks_and_times(machine, bundle, capsys, monkeypatch):
    from edgeflow.cli import main

    monkeypatch.setattr("edgeflow.runtime.measure.profile.RUNS", 2)
    path = bundle()
    for found in (False, True):
        with pytest.raises(SystemExit) as stopped:
            main(["build", str(path), "--json"])
        said = json.loads(capsys.readouterr().out)
        assert stopped.value.code == 0 and said["check"]["passed"]
        assert {one["found"] for one in said["engines"]} == {found}
    (costs,) = (path / "profile").glob("*tensorrt*.json")
    assert json.loads(costs.read_text())["ms"]


def test_a_bundle_for_any_size_is_built_and_checked_for_one(machine, bundle, capsys, monkeypatch):
    """The goldens have a size of their own; it is built too, for the orientation that was asked for alone."""
    from edgeflow.cli import main

    monkeypatch.setattr("edgeflow.runtime.device.RUNS", 1)
    path = bundle("Patchwork")
    with pytest.raises(SystemExit) as stopped:
        main(["build", str(path), "--size", "56x40", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert stopped.value.code == 0 and said["check"]["passed"] and said["check"]["clips"]
    kinds = set(open_bundle(path).manifest.plans)
    assert set(said["check"]["not_built"]) == kinds - {clip["frames"] for clip in said["check"]["clips"]}
    frame = np.zeros((40, 56, 3), np.uint8)
    number = len(next(iter(open_bundle(path).manifest.plans.values())).inputs)
    assert Session(path)(*[frame] * number).shape == (40, 56, 3)


def test_a_board_of_another_kind_is_refused(machine, bundle):
    """As `edgeflow sys` says of it."""
    from edgeflow.targets.tensorrt_fit import check_fits

    opened = open_bundle(bundle())
    target = {
        **opened.manifest.target,
        "name": "jetson-orin",
        "unified_memory": True,
        "compute_capability": "8.7",
    }
    orin = replace(opened, manifest=replace(opened.manifest, target=target))
    thor = replace(DEVICE, name="Thor", compute_capability="11.0")
    check_fits(orin, DEVICE, "10.13.3")
    with pytest.raises(BackendError, match=r"jetson-orin is for sm_87, this is Thor .sm_110.: export for"):
        check_fits(orin, thor, "10.13.3")


@pytest.fixture
def plugin_bundle(tmp_path):
    from kept_bundles import compile_kept
    from plugin_model import Deforming

    from edgeflow.targets import load

    path = tmp_path / "plugin.edgeflow"
    compile_kept(Deforming().eval(), load("desktop-gpu"), path, reference={"model": "mine"})
    return path


def library(path):
    """A file in the place of a plugin library, as whole as one that was built."""
    path.write_bytes(b"a library")
    record_built(sha256_of(path))
    return path


def test_engines_with_plugins_are_built_again_with_another_library(machine, plugin_bundle, tmp_path):
    first, second = (library(tmp_path / f"libedgeflow_plugins-{i}-trt10.3.0.so") for i in (1, 2))
    assert [one.found for one in build(plugin_bundle, plugin_library=str(first))] == [False]
    assert [one.found for one in build(plugin_bundle, plugin_library=str(first))] == [True]
    assert [one.found for one in build(plugin_bundle, plugin_library=str(second))] == [False]
    record = json.loads(next(plugin_bundle.glob("engines/*/*.engine.json")).read_text())
    assert record["plugins"] == second.name


def test_bundles_with_the_same_plugins_share_a_process(machine, plugin_bundle, tmp_path):
    from edgeflow.targets.plugin_registry import load_plugins

    again = shutil.copytree(plugin_bundle, tmp_path / "again.edgeflow")
    libraries = []
    for path in (plugin_bundle, again):
        folder = tmp_path / f"made-{path.name}"
        folder.mkdir()
        libraries.append(library(folder / "libedgeflow_plugins-1-trt10.3.0.so"))
    for one in libraries:
        load_plugins(str(one), ["EdgeflowDeformConv2d"])
    assert libraries[0] != libraries[1]


@pytest.mark.parametrize("harm", ["cut off", "gone"])
def test_a_damaged_plugin_library_is_told(machine, tmp_path, harm):
    from edgeflow.targets.plugin_registry import load_plugins

    damaged = library(tmp_path / "libedgeflow_plugins-1-trt10.3.0.so")
    damaged.write_bytes(b"a lib") if harm == "cut off" else damaged.unlink()
    with pytest.raises(BackendError, match="is missing or damaged: run `edgeflow build` again"):
        load_plugins(str(damaged), ["EdgeflowDeformConv2d"])


def test_a_plugin_library_of_another_release_is_told(machine, plugin_bundle, tmp_path):
    machine.fault("plugins")
    with pytest.raises(
        BackendError, match=r"cannot load the plugin library .*; delete it and run `edgeflow build`"
    ):
        build(plugin_bundle, plugin_library=str(library(tmp_path / "libedgeflow_plugins-1-trt10.3.0.so")))


@pytest.mark.parametrize(
    ("code", "message"),
    [(46, "another program holds the device"), (100, "is the GPU visible"), (719, "stopped answering")],
)
def test_a_device_that_is_busy_or_gone_says_what_to_do(code, message):
    from edgeflow.targets.cudart import Cudart

    class Gone:
        """A CUDA runtime library whose every call fails."""

        def __getattr__(self, name):
            return lambda *_: b"gone" if name == "cudaGetErrorString" else code

    cudart = object.__new__(Cudart)
    cudart._library = Gone()
    with pytest.raises(BackendError, match=rf"cudaStreamSynchronize failed: gone .{code}.; .*{message}"):
        cudart.synchronise(1)
