"""Graphs of which one runs at a time, in one compiled model."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import onnx
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgeflow.export.planning.expected_routes import ExpectedRoutes
from edgeflow.export.sample import moving_picture
from edgeflow.ir.errors import BackendError
from edgeflow.ir.plan import Port
from edgeflow.ir.route import assignment
from edgeflow.runtime import Session, open_bundle
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.backends.base import GraphFile
from edgeflow.runtime.backends.openvino_extensions import EXTENSIONS
from edgeflow.runtime.backends.openvino_join import join
from edgeflow.runtime.stream.loading import load_graphs
from edgeflow.targets import load

pytestmark = pytest.mark.slow

INPUTS = (Port("x", "x", (8, "height", 5), "float32"), Port("y", "y", (3,), "float32"))
OUTPUTS = (Port("a", "a", (8, "height", 5), "float32"), Port("b", "b", (3,), "float32"))
DIMS = {"height": 6}


def weights(seed):
    return np.random.default_rng(seed).normal(size=(8, 8, 3, 3)).astype(np.float32)


def graph(number, seed):
    """x convolved with weights by a seed, times a number; y plus that number."""
    constants = [
        onnx.numpy_helper.from_array(weights(seed), f"w{seed}"),
        onnx.numpy_helper.from_array(np.float32(number), "number"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", f"w{seed}"], ["convolved"], pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["convolved", "number"], ["a"]),
        helper.make_node("Add", ["y", "number"], ["b"]),
    ]
    ends = [
        [helper.make_tensor_value_info(p.tensor, TensorProto.FLOAT, ["batch", *p.shape]) for p in ports]
        for ports in (INPUTS, OUTPUTS)
    ]
    made = helper.make_graph(nodes, "g", *ends, constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)


def run(engine, rng):
    x, y = (rng.normal(size=shape).astype(np.float32) for shape in ((1, 8, 6, 5), (1, 3)))
    a, b = np.empty_like(x), np.empty_like(y)
    engine.run([x, y], [a, b])
    return x, y, a, b


@pytest.mark.parametrize("count", [2, 3, 7])
def test_every_joined_engine_makes_what_it_makes_alone(tmp_path, count):
    paths = [tmp_path / f"{number}.onnx" for number in range(count)]
    for number, path in enumerate(paths):
        onnx.save(graph(number + 1, number % 2), path)
    backend = open_backend("openvino")
    joined = backend.load_joined([GraphFile(path, INPUTS, OUTPUTS) for path in paths], DIMS)
    alone = [backend.load(path, INPUTS, OUTPUTS, DIMS, batch=1) for path in paths]
    assert len(joined) == count
    rng = np.random.default_rng(0)
    for number in [*rng.permutation(count), *rng.permutation(count)]:
        x, y, a, b = run(joined[number], rng)
        wanted = np.empty_like(a), np.empty_like(b)
        alone[number].run([x, y], wanted)
        np.testing.assert_allclose(a, wanted[0], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(b, y + number + 1, rtol=1e-6)


def test_graphs_with_other_inputs_are_joined_too(tmp_path):
    """One of them adds a row to a picture, one a picture to a row, one two pictures."""
    row, picture = (Port("r", "r", (3,), "float32"), Port("p", "p", (2, 3), "float32"))
    second, made = replace(picture, value="q", tensor="q"), replace(picture, value="s", tensor="s")
    files = []
    for inputs in ((row, picture), (picture, row), (picture, second)):
        ends = [
            [helper.make_tensor_value_info(p.tensor, TensorProto.FLOAT, ["batch", *p.shape]) for p in ports]
            for ports in (inputs, (made,))
        ]
        node = helper.make_node("Add", [port.tensor for port in inputs], ["s"])
        model = helper.make_graph([node], "g", *ends)
        files.append(GraphFile(tmp_path / f"{len(files)}.onnx", inputs, (made,)))
        onnx.save(
            helper.make_model(model, opset_imports=[helper.make_opsetid("", 19)], ir_version=10),
            files[-1].path,
        )
    engines = open_backend("openvino").load_joined(files, {})
    rng = np.random.default_rng(0)
    for number in (0, 1, 2, 1, 0, 2):
        given = [rng.normal(size=(1, *port.shape)).astype(np.float32) for port in files[number].inputs]
        s = np.empty((1, 2, 3), np.float32)
        engines[number].run(given, [s])
        np.testing.assert_allclose(s, given[0] + given[1], rtol=1e-6)
    assert len(engines[0]._requests.opened) == 1


def test_weights_of_one_name_lie_in_one_place(tmp_path):
    core = ov.Core()
    models = []
    for number, seed in enumerate([0, 1, 0, 0]):
        onnx.save(graph(number, seed), tmp_path / "graph.onnx")
        models.append(core.read_model(tmp_path / "graph.onnx"))
        models[-1].reshape({"x": [1, 8, 6, 5], "y": [1, 3]})
    join(models)
    places = [
        {node.data.ctypes.data for node in model.get_ops() if node.get_friendly_name().startswith("w")}
        for model in models
    ]
    assert all(len(own) == 1 for own in places)
    assert places[0] == places[2] == places[3] != places[1]


def test_other_weights_of_the_same_name_stay_apart(tmp_path):
    files = []
    for seed in (0, 1):
        model = graph(1, seed)
        model.graph.initializer[0].name = model.graph.node[0].input[1] = "w"
        files.append(GraphFile(tmp_path / f"{seed}.onnx", INPUTS, OUTPUTS))
        onnx.save(model, files[-1].path)
    backend = open_backend("openvino")
    for file, joined in zip(files, backend.load_joined(files, DIMS), strict=True):
        x, y, a, b = run(joined, np.random.default_rng(0))
        wanted = np.empty_like(a), np.empty_like(b)
        backend.load(file.path, INPUTS, OUTPUTS, DIMS, batch=1).run([x, y], wanted)
        np.testing.assert_allclose(a, wanted[0], rtol=1e-5, atol=1e-5)


def test_twins_of_joined_engines_share_one_request_of_their_own(tmp_path):
    paths = [tmp_path / f"{number}.onnx" for number in range(3)]
    for number, path in enumerate(paths):
        onnx.save(graph(number, 0), path)
    joined = open_backend("openvino").load_joined([GraphFile(path, INPUTS, OUTPUTS) for path in paths], DIMS)
    rng = np.random.default_rng(0)
    for engine in joined:
        run(engine, rng)
    made = {}
    twins = [engine.twin(made) for engine in joined]
    assert len({id(twin._requests) for twin in twins}) == 1
    assert twins[0]._requests is not joined[0]._requests
    for number, twin in enumerate(twins):
        _, y, _, b = run(twin, rng)
        np.testing.assert_allclose(b, y + number, rtol=1e-6)
    assert len(twins[0]._requests.opened) == len(joined[0]._requests.opened) == 1


def test_a_graph_that_is_refused_is_named(tmp_path):
    onnx.save(graph(0, 0), tmp_path / "good.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    files = [GraphFile(tmp_path / name, INPUTS, OUTPUTS) for name in ("bad.onnx", "good.onnx")]
    with pytest.raises(BackendError, match=r"refuses bad.onnx and 1 more"):
        open_backend("openvino").load_joined(files, DIMS)


@pytest.fixture(scope="module")
def bundle(export_tiny):
    return export_tiny("one-row", replace(load("openvino-cpu"), batches=(1,)), strategy="routes").path


@pytest.mark.parametrize(("threads", "requests"), [(1, 2), (2, 3)])
def test_a_plans_whole_routes_are_joined_in_as_many_parts_as_threads_load_them(bundle, threads, requests):
    opened = open_bundle(bundle)
    told = []
    loaded = load_graphs(
        opened,
        opened.manifest.plans["landscape"],
        open_backend("openvino", threads),
        (200, 310),
        progress=lambda done, total: told.append((done, total)),
    )
    engines = {id(graph.engine) for graph in loaded.values()}
    assert len(engines) == 16 and told[-1] == (16, 16)
    assert len({id(graph.engine._requests) for graph in loaded.values()}) == requests  # the router's, too


def test_a_route_that_most_regions_should_take_stands_alone(export_tiny):
    most, other = (assignment({"scale": scale, "exit": 1}) for scale in (1, 2))
    routes = ExpectedRoutes(({"tiles": {most: 5, other: 1}, "frame": {most: 1}},), "a test")
    target = replace(load("openvino-cpu"), batches=(1,))
    made = export_tiny("usual", target, strategy="auto", expected=routes, sizes=[(200, 310)])
    (plan,) = made.manifest.plans.values()
    (stage,) = (stage for stage in plan.stages if stage.regions == "tiles" and len(stage.graphs) > 3)
    expected = {graph.variant: graph.expected for graph in stage.graphs}
    assert expected.pop(most) == 5 and expected.pop(other) == 1 and not any(expected.values())
    (usual,) = plan.usual & {graph.graph for graph in stage.graphs}
    loaded = load_graphs(open_bundle(made.path), plan, open_backend("openvino"), (200, 310))
    requests = Counter(id(loaded[graph.key].engine._requests) for graph in stage.graphs)
    for graph in stage.graphs:
        alone = requests[id(loaded[graph.key].engine._requests)] == 1
        assert alone == (graph.graph == usual)


@pytest.mark.parametrize("exact", [False, True])
def test_frames_of_joined_engines_are_those_of_engines_apart(bundle, exact):
    sessions = [Session(bundle, threads=2, exact=exact) for _ in range(2)]
    sessions[1].backend.joins = False
    taken = set()
    for pair in pairwise(moving_picture(200, 310, time) for time in range(4)):
        joined, apart = (session.run(*pair) for session in sessions)
        assert joined.trace.regions == apart.trace.regions
        taken |= {str(region.route) for region in joined.trace.regions}
        difference = np.abs(joined.outputs[0].astype(np.float64) - apart.outputs[0]).max()
        assert difference <= (1e-4 if exact else 1)
    assert len(taken) > 3


@given(
    st.sampled_from([1, 2, 4]),
    st.tuples(*[st.integers(1, 2)] * 2),
    st.tuples(*[st.integers(1, 2)] * 2),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.booleans(),
    st.integers(0, 1000),
)
def test_convolutions_are_read_as_onnx_means_them(groups, strides, dilations, pads, biased, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 4, 9, 8)).astype(np.float32)
    filters = rng.normal(size=(8, 4 // groups, 3, 2)).astype(np.float32)
    constants = [onnx.numpy_helper.from_array(filters, "w")]
    if biased:
        constants.append(onnx.numpy_helper.from_array(rng.normal(size=8).astype(np.float32), "b"))
    node = helper.make_node(
        "Conv",
        ["x", *(constant.name for constant in constants)],
        ["y"],
        group=groups,
        strides=strides,
        dilations=dilations,
        pads=pads,
    )
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", None, None, None])] for name in "xy"
    ]
    model = helper.make_model(
        helper.make_graph([node], "conv", *ends, constants),
        opset_imports=[helper.make_opsetid("", 19)],
        ir_version=10,
    )
    (wanted,) = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})
    core = ov.Core()
    core.add_extension(EXTENSIONS)
    read = core.read_model(model.SerializeToString())
    assert not any(op.get_type_name() == "ShapeOf" for op in read.get_ops())
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    (made,) = core.compile_model(read, "CPU", config)(x).values()
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-4)
