from pathlib import Path

import film_models
import numpy as np
import pytest
from kept_bundles import compile_kept
from routed_models import SMALL

from edgeflow.export.sample import moving_picture
from edgeflow.flow import Eager, Image, RoutedModule, cost
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.errors import BackendError, FlowError, InputError
from edgeflow.runtime import Fixed, Session, open_bundle
from edgeflow.runtime.session import kept_size
from edgeflow.targets import load

LIBRARIES = ("onnxruntime", "openvino")
STRATEGIES = ("chained", "routes")
TOLERANCE = 1e-4


def routes(result):
    """Per variable, the choice of every region that the trace shows."""
    found = [region.route for region in result.trace.regions]
    return {name: [route[name] for route in found] for name in found[0]}


def compare(session, eager, calls):
    """Run both on successive calls; returns the routes taken."""
    taken = []
    for inputs in calls:
        result, wanted = session.run(*inputs), eager(*map(to_tensor, inputs))
        for output, reference in zip(result.outputs, wanted.outputs, strict=True):
            assert output.shape == tuple(reference.shape[1:]) and output.dtype == np.float32
            assert np.abs(output - reference[0].numpy()).max() <= TOLERANCE
        assert routes(result) == wanted.routes
        taken += list(zip(*wanted.routes.values(), strict=True))
    return taken


def clip(height, width, count=3):
    return [(moving_picture(height, width, t), moving_picture(height, width, t + 1)) for t in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    "size", [(200, 310), (310, 200), (131, 133), (40, 50), (1, 1)], ids="{0[0]}x{0[1]}".format
)
def test_frames_of_any_size_equal_the_eager_ones(tiny, tiny_bundles, size, strategy, library):
    session = Session(tiny_bundles[strategy].path, library=library, exact=True)
    taken = compare(session, Eager(tiny), clip(*size))
    if size == (200, 310):
        assert len(set(taken)) > 4


def calls_of(name, random):
    """Five calls with inputs that take different routes."""
    if name == "Frames":
        return [[random.random((length, 3, 6, 6), dtype=np.float32)] for length in (3, 6, 11, 12, 20)]
    if name == "Gated":
        return [
            [(random.random((12, 12, 3)) * bright).astype(np.uint8)] for bright in (10, 80, 140, 200, 255)
        ]
    size = (16, 24) if name == "Shortcut" else (50, 70)
    return [[moving_picture(*size, t)] for t in range(5)]


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", SMALL)
def test_every_way_of_routing_equals_the_eager_flow(name, strategy, library, small_bundle, random):
    model, compiled = small_bundle(name, strategy)
    session = Session(compiled.path, library=library, exact=True)
    calls = calls_of(name, random)
    taken = compare(session, Eager(model), calls)
    assert len(set(taken)) > 1 or name == "Gated"
    session.reset()
    compare(session, Eager(model), calls[1:])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_combination_of_gates_runs(strategy, small_bundle, random):
    model, compiled = small_bundle("Gated", strategy)
    (inputs, *_) = calls_of("Gated", random)
    for stride in (1, 2):
        for channels in (0.5, 1.0):
            fixed = {"stride": stride, "channels": channels}
            result = Session(compiled.path, exact=True, policy=Fixed(**fixed)).run(*inputs)
            wanted = Eager(model, fixed)(*map(to_tensor, inputs))
            assert np.abs(result.outputs[0] - wanted.outputs[0][0].numpy()).max() <= TOLERANCE
            assert routes(result) == wanted.routes


def test_states_last_until_a_reset(small_bundle):
    _, compiled = small_bundle("Shortcut", "chained")
    session = Session(compiled.path, exact=True)
    frames = [moving_picture(16, 24, 5 * t) for t in range(3)]
    first = [session(frame) for frame in frames]
    session.reset()
    np.testing.assert_array_equal(session(frames[0]), first[0])
    np.testing.assert_array_equal(session(frames[1]), first[1])
    session.reset()
    assert np.abs(session(frames[1]) - first[1]).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("fixed", [{"exit": 1}, {"scale": 4}, {"scale": 2, "exit": 3}])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_fixed_policy_replaces_the_models_decision(tiny, tiny_bundles, strategy, fixed):
    session = Session(tiny_bundles[strategy].path, exact=True, policy=Fixed(**fixed))
    taken = compare(session, Eager(tiny, fixed), clip(200, 310, 1))
    position = {"scale": 0, "exit": 1}
    assert all(route[position[name]] == value for route in taken for name, value in fixed.items())


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_images_are_the_exact_output_rounded(tiny_bundles, library):
    path = tiny_bundles["chained"].path
    for frames in clip(131, 200):
        image = Session(path, library=library)(*frames)
        exact = Session(path, library=library, exact=True)(*frames)
        assert image.dtype == np.uint8 and image.shape == (131, 200, 3)
        wanted = (exact.clip(0, 1) * 255).transpose(1, 2, 0)
        assert np.abs(image - wanted).max() <= 1
        assert np.abs(image - wanted).mean() < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_trace_accounts_for_the_frame_and_for_every_flop(tiny, tiny_bundles, strategy):
    (frames,) = clip(200, 310, 1)
    trace = Session(tiny_bundles[strategy].path).run(*frames).trace
    hits = np.zeros((200, 310), int)
    for region in trace.regions:
        hits[region.top : region.bottom, region.left : region.right] += 1
    assert (hits == 1).all()
    counted = cost(tiny, {"height": 200, "width": 310})
    tiles = sum(counted.flops(region.route, "tiles") for region in trace.regions)
    whole = tiles + counted.flops({}, "frame")
    assert sum(e.flops * e.regions for e in trace.engines) == pytest.approx(
        whole, rel=0.005
    )  # sides are rounded up
    assert trace.flops == sum(e.flops * sum(e.batches) for e in trace.engines)
    assert 0 < trace.engines_ms <= trace.total_ms
    for engine in trace.engines:
        assert sum(engine.batches) >= engine.regions > 0


def test_regions_of_one_route_share_engines(tiny_bundles):
    (frames,) = clip(200, 310, 1)
    trace = Session(tiny_bundles["routes"].path, policy=Fixed(scale=2, exit=4)).run(*frames).trace
    tiled = [engine for engine in trace.engines if engine.regions > 1]
    assert [engine.regions for engine in tiled] == [len(trace.regions)]


def test_a_model_without_tiles_has_one_region(small_bundle):
    _, compiled = small_bundle("Shortcut", "chained")
    result = Session(compiled.path).run(moving_picture(16, 24, 0))
    (region,) = result.trace.regions
    assert (region.top, region.left, region.bottom, region.right) == (0, 0, 16, 24)
    assert region.route == {"mode": "key"}


def picture(*shape, dtype=np.uint8):
    return np.zeros(shape, dtype)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        ((picture(9, 9, 3),), r"the model takes 2 inputs \(frame0, frame1\), got 1"),
        ((picture(9, 9, 3),) * 3, "the model takes 2 inputs .* got 3"),
        (
            (picture(9, 9, 3, dtype=np.float32),) * 2,
            r"input frame0: expected uint8 .*, got float32 of shape \(9, 9, 3\)",
        ),
        (
            (picture(9, 9, 4),) * 2,
            r"input frame0: expected uint8 of shape \(height, width, 3\), got .*\(9, 9, 4\)",
        ),
        ((picture(9, 9),) * 2, r"input frame0: expected .*, got uint8 of shape \(9, 9\)"),
        ((picture(9, 0, 3),) * 2, r"input frame0: expected .*, got uint8 of shape \(9, 0, 3\)"),
        ((picture(9, 9, 3), picture(9, 8, 3)), r"input frame1: .*\(9, 8, 3\); the frame is 9x9"),
        (([[1]], picture(9, 9, 3)), "input frame0: expected .*, got list"),
    ],
)
def test_what_a_session_cannot_take(tiny_bundles, inputs, match):
    session = Session(tiny_bundles["chained"].path)
    with pytest.raises(InputError, match=match) as caught:
        session(*inputs)
    assert "\n" not in str(caught.value)
    assert session(*clip(9, 9, 1)[0]).shape == (9, 9, 3)


@pytest.mark.slow
def test_a_session_serves_frames_of_several_sizes(tiny, tiny_bundles):
    session, eager = Session(tiny_bundles["chained"].path, exact=True), Eager(tiny)
    for size in [(20, 30), (40, 30), (20, 30), (22, 30), (24, 30), (26, 30), (40, 30)]:
        compare(session, eager, clip(*size, 1))
        assert f"{size[1]}x{size[0]} frames" in repr(session)
    assert list(session._lanes) == [(22, 30), (24, 30), (26, 30), (40, 30)]  # the others were let go


class Trail(RoutedModule):
    """Every tile is the mean of what it was before and what comes: a state of frames of any size."""

    inputs = (Image("frame"),)
    outputs = (Image("picture"),)

    def mix(self, now, before):
        return (now + before) / 2

    def flow(self, f, frame):
        tiles = f.tile(frame, size=8, halo=0)
        state = f.state(before=(3, 8, 8))
        made = f.call(self.mix, tiles, state.before)
        f.keep(before=made)
        return f.stitch(made)


def test_another_size_begins_a_new_stream(tmp_path):
    path = compile_kept(Trail().eval(), load("cpu"), tmp_path / "m.edgeflow", reference={}).path
    session = Session(path, exact=True)
    small, large = moving_picture(16, 24, 0), moving_picture(24, 40, 0)
    first, second = session(small), session(small)
    assert np.abs(second - first).max() > 0.1
    wide = session(large)
    np.testing.assert_array_equal(session(small), first)
    np.testing.assert_array_equal(session(small), second)
    np.testing.assert_array_equal(session(large), wide)


def test_a_thread_cannot_turn_a_busy_session_to_another_size(tiny_bundles):
    session = Session(tiny_bundles["chained"].path)
    session(*clip(20, 30, 1)[0])
    run, refused = session.executor.run, []

    def slowly(inputs):
        with pytest.raises(InputError, match="another thread is running a frame") as caught:
            session(*clip(40, 30, 1)[0])
        refused.append(caught)
        return run(inputs)

    session.executor.run = slowly
    assert session(*clip(20, 30, 1)[0]).shape == (20, 30, 3) and len(refused) == 1


def test_a_bundle_of_fixed_sizes_serves_these(tmp_path, small_bundle):
    model, _ = small_bundle("Levels", "chained")
    sizes = [(40, 60), (60, 40)]
    path = compile_kept(model, load("cpu"), tmp_path / "fixed.edgeflow", reference={}, sizes=sizes).path
    for size in sizes:
        compare(Session(path, exact=True), Eager(model), [[moving_picture(*size, 0)]])
    with pytest.raises(
        InputError,
        match="this bundle is for 60x40, 40x60 frames, got 50x50: resize the frames, or export a bundle for theirs",
    ):
        Session(path)(picture(50, 50, 3))
    plans = open_bundle(path).manifest.plans
    assert kept_size(plans, 60, 40) == (60, 40)
    with pytest.raises(InputError, match=r"the video is 80x60, the bundle for 60x40, .* --size 80x60"):
        kept_size(plans, 60, 80)


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_read_only_frames(tiny_bundles, library):
    path = tiny_bundles["chained"].path
    frames = clip(131, 133, 1)[0]
    wanted = Session(path, library=library)(*frames)
    for frame in frames:
        frame.setflags(write=False)
    np.testing.assert_array_equal(Session(path, library=library)(*frames), wanted)


def test_a_policy_names_axes_and_values_that_exist_when_a_session_opens(tiny_bundles):
    path = tiny_bundles["chained"].path
    with pytest.raises(InputError, match="no axis 'depth' to fix: the bundle has scale, exit"):
        Session(path, policy=Fixed(depth=3))
    with pytest.raises(FlowError, match=r"9 is not a value of the axis \(1, 2, 3, 4, 5\)"):
        Session(path, policy=Fixed(exit=9))


def test_a_policy_is_an_object_and_threads_are_one_or_more(tiny_bundles):
    with pytest.raises(InputError, match=r"such as Fixed\(...\), got 'whole'"):
        Session(tiny_bundles["chained"].path, policy="whole")
    with pytest.raises(InputError, match="on a thread or more, got 0"):
        Session(tiny_bundles["chained"].path, threads=0)


def test_an_unknown_engine_library(tiny_bundles):
    with pytest.raises(
        BackendError,
        match="unknown engine library 'abacus': known are onnxruntime, onnxruntime-cuda, openvino",
    ):
        Session(tiny_bundles["chained"].path, library="abacus")


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_graph_the_library_refuses_is_named(tmp_path, tiny_bundles, library):
    import shutil

    import onnx

    path = shutil.copytree(tiny_bundles["chained"].path, tmp_path / "broken.edgeflow")
    (name, *_) = [graph.file for graph in open_bundle(path).manifest.graphs.values()]
    operator = onnx.load(path / name, load_external_data=False).graph.node[-1].op_type.encode()
    (path / name).write_bytes((path / name).read_bytes().replace(operator, operator[::-1]))
    with pytest.raises(BackendError, match=f"refuses {Path(name).name}"):
        Session(open_bundle(path, verify=False), library=library)(*clip(9, 9, 1)[0])


def test_what_is_no_bundle_is_refused_in_words(tiny_bundles):
    with pytest.raises(InputError, match=r"got Compiled: give its `path`"):
        Session(tiny_bundles["chained"])
    with pytest.raises(
        InputError, match=r"takes the path of a bundle, or what open_bundle returned, got NoneType$"
    ):
        Session(None)


@pytest.mark.parametrize("time", [7.0, -0.01, np.nan])
def test_a_time_that_is_not_between_the_frames(tmp_path, time):
    path = tmp_path / "any_time.edgeflow"
    compile_kept(film_models.any_time(), load("cpu"), path, reference={"model": "any_time"})
    session, frame = Session(path), np.zeros((40, 56, 3), np.uint8)
    with pytest.raises(InputError, match=f"wanted at {time:g}: times go from 0"):
        session(frame, frame, np.array([time], np.float32))
    assert session(frame, frame, np.array([1], np.float32)).shape == frame.shape
