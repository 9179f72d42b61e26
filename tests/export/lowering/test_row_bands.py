"""Graphs in bands of rows make what they make without, and hold less."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeflow.export.activations import counted, inferred
from edgeflow.export.lowering.row_bands import Banded
from edgeflow.export.lowering.row_needs import need
from edgeflow.export.planning.memory import shapes_of

HEIGHT, WIDTH, CHANNELS = 37, 24, 5
RNG = np.random.default_rng(3)


def constants(**values):
    return [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]


def weights(out, given=CHANNELS, side=3):
    return RNG.standard_normal((out, given, side, side)).astype(np.float32)


def model(nodes, tensors, outputs=("y",), shape=(1, CHANNELS, HEIGHT, WIDTH)):
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "g", [given], made, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)


def run(graph):
    shape = [dim.dim_value for dim in graph.graph.input[0].type.tensor_type.shape.dim]
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.random.default_rng(5).standard_normal(shape).astype(np.float32)})


def shaped(graph):
    shape = [dim.dim_value for dim in graph.graph.input[0].type.tensor_type.shape.dim]
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    return inferred(copy, {"x": shape})


def banded(graph):
    return Banded(graph, shapes_of(shaped(graph)))


NODE = helper.make_node
STEPS = {
    "conv": ([NODE("Conv", ["x", "w"], ["m"], "c", pads=[1] * 4)], {"w": weights(4)}),
    "strided conv": (
        [NODE("Conv", ["x", "w"], ["m"], "c", pads=[2, 1, 1, 1], strides=[2, 2])],
        {"w": weights(4)},
    ),
    "wide conv": (
        [NODE("Conv", ["x", "w"], ["m"], "c", pads=[4] * 4, dilations=[2, 2])],
        {"w": weights(4, side=5)},
    ),
    "average pool": ([NODE("AveragePool", ["x"], ["m"], "p", kernel_shape=[3, 3], pads=[1] * 4)], {}),
    "max pool": ([NODE("MaxPool", ["x"], ["m"], "p", kernel_shape=[2, 2], strides=[2, 2])], {}),
    "corners aligned": (
        [
            NODE(
                "Resize",
                ["x", "", "s"],
                ["m"],
                "r",
                mode="linear",
                coordinate_transformation_mode="align_corners",
            )
        ],
        {"s": np.array([1, 1, 4, 4], np.float32)},
    ),
    "half pixels": (
        [NODE("Resize", ["x", "", "s"], ["m"], "r", mode="linear")],
        {"s": np.array([1, 1, 2, 2], np.float32)},
    ),
    "border": (
        [NODE("Pad", ["x", "p"], ["m"], "p", mode="edge")],
        {"p": np.array([0, 0, 2, 1, 0, 0, 3, 1])},
    ),
    "zeros": ([NODE("Pad", ["x", "p"], ["m"], "p")], {"p": np.array([0, 0, 0, 1, 0, 0, 5, 1])}),
    "interleaved": (
        [NODE("Conv", ["x", "w"], ["u"], "c"), NODE("DepthToSpace", ["u"], ["m"], "d", blocksize=2)],
        {"w": weights(8)},
    ),
    "planes": ([NODE("Reshape", ["x", "s"], ["m"], "r")], {"s": np.array([-1, 1, 0, 0])}),
    "shares": ([NODE("Softmax", ["x"], ["m"], "s", axis=1)], {}),
    "sums": (
        [
            NODE("ReduceMax", ["x", "c"], ["h"], "h"),
            NODE("Sub", ["x", "h"], ["d"], "d"),
            NODE("ReduceSum", ["d", "c"], ["t"], "t"),
            NODE("Div", ["d", "t"], ["m"], "m"),
        ],
        {"c": np.array([1])},
    ),
    "gate": (
        [NODE("Mul", ["x", "g"], ["m"], "m")],
        {"g": RNG.random((1, CHANNELS, 1, 1)).astype(np.float32)},
    ),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("count", [2, 5])
def test_every_operator_makes_the_same_in_bands(name, count):
    """After an operator with a halo of its own, so that its rows are cut and padded in the middle of a region."""
    steps, tensors = STEPS[name]
    nodes = [NODE("Relu", ["x"], ["first"], "first"), *steps, NODE("Sigmoid", ["m"], ["y"], "last")]
    nodes[1].input[0] = "first"
    graph = model(nodes, constants(**tensors))
    cut = banded(graph).cut({"y": count})
    assert sum(node.op_type == nodes[1].op_type for node in cut.model.graph.node) == count
    np.testing.assert_allclose(run(cut.model)[0], run(graph)[0], atol=1e-6, rtol=1e-6)


def test_a_skip_and_a_branch_share_a_band():
    nodes = [
        NODE("Conv", ["x", "w"], ["a"], "c1", pads=[1] * 4),
        NODE("Relu", ["a"], ["b"], "relu"),
        NODE("Conv", ["b", "v"], ["c"], "c2", pads=[1] * 4),
        NODE("Add", ["b", "c"], ["y"], "add"),
    ]
    graph = model(nodes, constants(w=weights(6), v=weights(6, 6)))
    found = banded(graph)
    assert [(region.target, len(region.nodes)) for region in found.regions] == [("y", 4)]
    np.testing.assert_allclose(run(found.cut({"y": 4}).model)[0], run(graph)[0], atol=1e-5)


def test_what_is_read_whole_is_made_whole():
    """A mean looks at all of `b`, so the region of `y` begins after it, and `b` has one of its own."""
    nodes = [
        NODE("Conv", ["x", "w"], ["a"], "c1", pads=[1] * 4),
        NODE("Relu", ["a"], ["b"], "relu"),
        NODE("GlobalAveragePool", ["b"], ["mean"], "mean"),
        NODE("Mul", ["b", "mean"], ["c"], "gate"),
        NODE("Conv", ["c", "v"], ["y"], "c2", pads=[1] * 4),
    ]
    graph = model(nodes, constants(w=weights(6), v=weights(4, 6)))
    found = banded(graph)
    assert [(region.target, len(region.nodes)) for region in found.regions] == [("b", 2), ("y", 2)]
    assert set(found.whole) == {"GlobalAveragePool"}
    np.testing.assert_allclose(run(found.cut({"b": 3, "y": 4}).model)[0], run(graph)[0], atol=1e-5)


def test_cuts_of_rows_are_bands_and_the_tensor_is_never_whole():
    ends = {f"e{i}": np.array([end]) for i, end in enumerate((0, 20, HEIGHT))}
    nodes = [
        NODE("Conv", ["x", "w"], ["a"], "c1", pads=[1] * 4),
        NODE("Softmax", ["a"], ["b"], "softmax", axis=1),
        NODE("Slice", ["b", "e0", "e1", "axis"], ["upper"], "upper"),
        NODE("ReduceSum", ["upper", "all"], ["p"], "sum1", keepdims=0),
        NODE("Slice", ["b", "e1", "e2", "axis"], ["lower"], "lower"),
        NODE("ReduceMax", ["lower", "all"], ["q"], "max", keepdims=0),
        NODE("Concat", ["p", "q"], ["y"], "join", axis=0),
    ]
    graph = model(nodes, constants(w=weights(40), axis=np.array([2]), all=np.array([1, 2]), **ends))
    found = banded(graph)
    (region,) = (region for region in found.regions if region.cuts)
    assert region.target == "b" and found.most(region) == 2
    cut = found.cut({"b": 2})
    np.testing.assert_allclose(run(cut.model)[0], run(graph)[0], atol=1e-6)
    assert counted(shaped(cut.model)).bytes < 0.65 * counted(shaped(graph)).bytes
    assert cut.owners["upper"] == "b"


@pytest.mark.parametrize(
    "node",
    [
        NODE("Concat", ["x", "x"], ["y"], axis=2),
        NODE("Softmax", ["x"], ["y"], axis=-2),
        NODE("ReduceSum", ["x", "r"], ["y"]),
        NODE("Transpose", ["x"], ["y"], perm=[0, 1, 3, 2]),
        NODE("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER"),
        NODE("InstanceNormalization", ["x", "s", "s"], ["y"]),
        NODE("Pad", ["x", "p"], ["y"], mode="reflect"),
    ],
)
def test_what_may_look_at_a_whole_picture_has_no_bands(node):
    shapes = {
        "x": (1, 2, 8, 8),
        "y": (1, 2, 16 if node.op_type == "Concat" else 8, 8),
        "w": (2, 2, 3, 3),
        "s": (2,),
    }
    constants = {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "r": np.array([1, 2])}
    assert need(node, (2, 4), shapes, constants) is None
