"""One TensorRT engine at a time, over the doubles: addresses, CUDA graphs, and what is given back."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from edgeflow.ir.bundle import open_bundle
from edgeflow.runtime import Session
from edgeflow.runtime.measure.profile import profile
from edgeflow.runtime.stream.trace import Trace
from edgeflow.targets import nvidia

SIZE = {"height": 40, "width": 56}


@pytest.fixture
def session(machine, tensorrt_bundle, tmp_path):
    """Of tiles, built, and prepared."""
    import shutil

    from edgeflow.targets.tensorrt_bundle import Site, build_bundle

    path = shutil.copytree(tensorrt_bundle("Patchwork"), tmp_path / "tiles.edgeflow")
    bundle = open_bundle(path)
    site = Site(nvidia.find(), "10.3.0", free_bytes=lambda: 1 << 30)
    build_bundle(bundle, [(plan, SIZE) for plan in bundle.manifest.plans.values()], site)
    made = Session(bundle)
    made.prepare(**SIZE)
    return made


@pytest.fixture
def tiles(session):
    """(engine of tiles, arrays of 16 rows that it reads, arrays of 16 rows that it writes)"""
    loaded = next(
        one
        for one in session.executor.loaded.values()
        if len(one.graph.batches) > 1 and all(isinstance(d, int) for p in one.graph.inputs for d in p.shape)
    )
    memory, random = session.backend.memory, np.random.default_rng(0)
    memory.begin_frame()
    inputs = [
        memory.upload(random.integers(0, 9, (16, *port.shape)).astype(port.dtype))
        for port in loaded.graph.inputs
    ]
    outputs = [memory.empty((16, *port.shape), port.dtype) for port in loaded.outputs]
    return loaded.engine, inputs, outputs


def run(engine, inputs, outputs, rows, first=0):
    engine.run([a[first : first + rows] for a in inputs], [a[first : first + rows] for a in outputs])


@pytest.mark.slow
def test_only_addresses_that_come_back_are_recorded(machine, tiles):
    engine, inputs, outputs = tiles
    for first in range(15):
        run(engine, inputs, outputs, 1, first)
    assert machine.cudart.captures == 0
    for _ in range(8):
        run(engine, inputs, outputs, 1, 3)
    assert machine.cudart.captures == 1 and machine.cudart.launches >= 4


@pytest.mark.slow
def test_the_graph_that_was_launched_longest_ago_goes_first(machine, tiles, monkeypatch):
    monkeypatch.setattr("edgeflow.runtime.backends.tensorrt_engine.GRAPHS", 2)
    monkeypatch.setattr("edgeflow.runtime.backends.tensorrt_engine.CAPTURED_AFTER", 0)
    engine, inputs, outputs = tiles
    for first in (0, 1, 0, 2, 0):  # 1 has to make place for 2
        run(engine, inputs, outputs, 1, first)
    assert machine.cudart.captures == 3 and machine.cudart.launches == 5
    run(engine, inputs, outputs, 1, 1)
    assert machine.cudart.captures == 4


@pytest.mark.slow
def test_every_address_is_one_that_tensorrt_takes(machine, tiles, session):
    """Rows whose bytes are no multiple of 256 are copied to where they may lie, and the results back."""
    engine, inputs, outputs = tiles
    odd = session.backend.memory.empty((16 * inputs[0].nbytes + 1,), np.uint8)
    shifted = odd[1 : 1 + inputs[0].nbytes]
    shifted.shape, shifted.dtype = inputs[0].shape, inputs[0].dtype
    session.backend.memory.copy_rows(inputs[0], np.arange(16), shifted)
    run(engine, inputs, outputs, 4)
    wanted = [session.backend.memory.download(array[:4]) for array in outputs]
    for _ in range(8):
        run(engine, [shifted, *inputs[1:]], outputs, 4)
    found = [session.backend.memory.download(array[:4]) for array in outputs]
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert machine.tensorrt.ADDRESSES and all(address % 256 == 0 for address in machine.tensorrt.ADDRESSES)


@pytest.mark.slow
def test_a_session_gives_back_all_it_took(machine, session):
    frame = np.zeros((40, 56, 3), np.uint8)
    for _ in range(8):
        session.run(*[frame] * len(session.executor.plan.inputs))
    assert machine.cudart.graphs and machine.cudart.live_streams
    executor = session.executor
    session.close()
    del session.backend, executor
    gc.collect()
    cudart = machine.cudart
    assert not cudart.graphs and not cudart.live_streams and not cudart.events


@pytest.mark.slow
def test_no_collection_disturbs_a_recording(machine, tiles, monkeypatch):
    """What it gave back while a stream is recorded would spoil the recording."""
    engine, inputs, outputs = tiles
    seen = []
    begin = machine.cudart.begin_capture
    monkeypatch.setattr(
        machine.cudart, "begin_capture", lambda stream: (seen.append(gc.isenabled()), begin(stream))
    )
    for _ in range(8):
        run(engine, inputs, outputs, 2)
    assert seen == [False] and gc.isenabled()


@pytest.mark.slow
def test_a_frame_keeps_its_picture_on_the_device(machine, session):
    frame = np.zeros((40, 56, 3), np.uint8)
    frames = [frame] * len(session.executor.plan.inputs)
    for _ in range(4):
        session.run(*frames)
    taken = machine.cudart.taken
    session.run(*frames)
    assert machine.cudart.taken == taken


@pytest.mark.slow
def test_spans_are_the_devices_time(machine, session, monkeypatch):
    """Work runs when somebody waits: what the host's clock sees of an engine is next to nothing."""
    frames = [np.zeros((40, 56, 3), np.uint8)] * len(session.executor.plan.inputs)
    machine.cudart.streams.slow = 0.002
    trace: Trace = session.run(*frames).trace
    engines, spent = trace.spent("engine"), sum(span.ms for span in trace.spans)
    assert all(engine.ms >= 2 * len(engine.batches) for engine in trace.engines)
    assert abs(engines - trace.engines_ms) < 1e-6 and spent <= trace.total_ms
    assert engines > trace.spent("stitch") / 50


@pytest.mark.slow
def test_a_profile_times_what_a_session_launches(machine, session, monkeypatch):
    monkeypatch.setattr("edgeflow.runtime.device.RUNS", 3)
    before = machine.cudart.launches
    report = profile(session.bundle, size=(40, 56))
    assert report.device.name == "a double, sm_87"
    measured = sum(engine.latency.runs for engine in report.engines)
    assert machine.cudart.launches - before >= measured, "a run that was measured was no launch of a graph"
