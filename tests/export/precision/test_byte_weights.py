"""int8 graphs compute the same on processors without VNNI, whose sums of two products are cut off at 16 bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from older_processors import capped_at_avx2, emulated_haswell, needs_qemu
from onnx import TensorProto, helper, numpy_helper

from edgeflow.export.passes import run_passes
from edgeflow.export.precision.byte_weights import fit_weights
from edgeflow.export.precision.qdq import guest_session, layers_of, quantised, ranged, scheme_of
from edgeflow.ir.sqnr import sqnr_db
from edgeflow.runtime.backends.onnxruntime_int8 import _PRODUCT, PAIRS_FIT

RUN = Path(__file__).parents[2] / "runtime" / "run_graphs.py"

CONVS = {
    "odd-inputs": ((8, 3, 3, 3), {}),
    "even-inputs": ((16, 6, 3, 3), {}),
    "wide": ((16, 32, 3, 3), {}),
    "pointwise": ((9, 7, 1, 1), {}),
    "groups-of-eight": ((24, 8, 3, 3), {"group": 3}),
    "groups-of-three": ((24, 3, 3, 3), {"group": 8}),
    "depthwise": ((16, 1, 3, 3), {"group": 16}),
    "two-of-each": ((16, 1, 3, 3), {"group": 8}),
    "strided": ((16, 12, 3, 3), {"strides": [2, 2]}),
    "dilated": ((8, 16, 3, 3), {"dilations": [2, 2]}),
    "large-taps": ((16, 3, 7, 7), {}),
}
PRODUCTS = {
    "product": ("MatMul", (33, 17), {}),
    "gemm": ("Gemm", (48, 20), {}),
    "gemm-turned": ("Gemm", (20, 48), {"transB": 1}),
}


def uneven(shape):
    """Weights of which many are as large as they can be."""
    draw = np.random.default_rng(len(shape))
    return (draw.choice([1, 1, 0.99, -1, -0.98, 0.5, 0.01], shape) * 0.3).astype(np.float32)


def graph(kind, weight, shape, attributes):
    node = helper.make_node(kind, ["x", "w"], ["y"], "layer", **attributes)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    body = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(weight, "w")])
    opset = [helper.make_opsetid("", 19)]
    return onnx.shape_inference.infer_shapes(helper.make_model(body, opset_imports=opset, ir_version=10))


def every_graph():
    for name, (shape, attributes) in CONVS.items():
        channels = shape[1] * attributes.get("group", 1)
        pads = [shape[2] // 2] * 4
        yield name, graph("Conv", uneven(shape), (1, channels, 12, 12), {"pads": pads, **attributes})
    for name, (kind, shape, attributes) in PRODUCTS.items():
        read = shape[1] if attributes else shape[0]
        yield name, graph(kind, uneven(shape), (1, read), attributes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Quantised graphs, what to feed them, and what they make where sums are exact."""
    place = tmp_path_factory.mktemp("graphs")
    for name, model in every_graph():
        (given_,) = model.graph.input
        shape = [d.dim_value for d in given_.type.tensor_type.shape.dim]
        x = np.random.default_rng(0).choice([1.0, 0.99, 0.97, 0.0], shape).astype(np.float32)
        source = ranged(model, ["x"], [(x,)])
        made = quantised(source, layers_of(model), scheme_of("openvino"))
        (y,) = guest_session(made.SerializeToString()).run(["y"], {"x": x})
        onnx.save(made, place / f"{name}.onnx")
        np.savez(place / f"{name}.npz", x=x, y=y)
    return place


def assert_exact(errors):
    assert set(errors) == {*CONVS, *PRODUCTS}
    assert all(error < 3 for error in errors.values()), errors


def test_openvino_is_exact_at_avx2(folder):
    assert_exact(capped_at_avx2(RUN, folder, "openvino"))


@pytest.mark.slow
@needs_qemu
def test_onnx_runtime_is_exact_on_an_older_processor(folder):
    assert_exact(emulated_haswell(RUN, folder, "onnxruntime"))


@pytest.mark.slow
@needs_qemu
def test_on_an_older_processor_onnx_runtime_is_exact_with_weights_of_any_size(tmp_path):
    """As in bundles for TensorRT, which are judged by it, and in those of earlier versions."""
    model = graph("Conv", uneven((16, 16, 3, 3)), (1, 16, 12, 12), {"pads": [1] * 4})
    x = np.ones((1, 16, 12, 12), np.float32)
    for library in ("tensorrt", "openvino"):
        made = quantised(ranged(model, ["x"], [(x,)]), ["layer"], scheme_of(library))
        del made.metadata_props[:]
        (y,) = guest_session(made.SerializeToString()).run(["y"], {"x": x})
        onnx.save(made, tmp_path / f"{library}.onnx")
        np.savez(tmp_path / f"{library}.npz", x=x, y=y)
    errors = emulated_haswell(RUN, tmp_path, "onnxruntime")
    assert len(errors) == 2 and all(error < 3 for error in errors.values()), errors


KINDS = [("Conv", {}), ("Gemm", {"transB": 1}), ("Gemm", {}), ("MatMul", {})]


@given(st.sampled_from(KINDS), st.integers(1, 6), st.integers(1, 9), st.integers(1, 3), st.integers(0, 99))
def test_steps_fit_in_pairs_and_sum_up_to_what_the_weights_do(kind, outputs, inputs, side, seed):
    operator, attributes = kind
    weight = np.random.default_rng(seed).standard_normal((outputs, inputs, side, side)).astype(np.float32)
    taps = 1 if operator != "Conv" else side
    weight = weight[:, :, :taps, :taps]
    stored = weight if operator == "Conv" else weight[:, :, 0, 0] if attributes else weight[:, :, 0, 0].T
    model = graph(operator, stored, (1, inputs, 8, 8) if operator == "Conv" else (1, inputs), attributes)
    (entries,) = fit_weights(model, ["layer"]).values()
    assert {entry["axis"] for entry in entries} == {0 if operator == "Conv" or attributes else 1}
    scales = np.array([entry["scale"] for entry in entries], np.float64).reshape(-1, 1, 1, 1)
    moved = numpy_helper.to_array(model.graph.initializer[0]).astype(np.float64)
    moved = moved if operator == "Conv" else (moved if attributes else moved.T)[:, :, None, None]
    steps = np.round(moved / scales)
    assert np.allclose(steps, moved / scales, atol=1e-3)  # they are whole
    assert np.abs(steps - weight / scales).max() < 1
    assert np.abs((steps - weight / scales).sum((1, 2, 3))).max() < 0.501
    assert np.abs(steps).max() <= 127
    for sign in (1, -1):
        large = np.maximum(sign * steps, 0)
        odd = np.sort(large.reshape(outputs, -1))[:, -2:].sum(1)
        sums = large[:, 0::2] + large[:, 1::2] if inputs % 2 == 0 else odd
        assert 255 * sums.max() <= 32767


def test_stacked_matrices_are_fitted_as_one():
    weight = np.random.default_rng(0).standard_normal((2, 6, 4)).astype(np.float32)
    model = graph("MatMul", weight, (2, 3, 6), {})
    ((entry,),) = fit_weights(model, ["layer"]).values()
    moved = numpy_helper.to_array(model.graph.initializer[0])
    assert np.abs(moved - weight).max() < entry["scale"]
    steps = np.round(moved / entry["scale"])
    assert np.abs(steps[:, 0::2] + steps[:, 1::2]).max() <= 128
    source = ranged(graph("MatMul", weight, (2, 3, 6), {}), ["x"], [(np.ones((2, 3, 6), np.float32),)])
    assert quantised(source, ["layer"], scheme_of("onnxruntime")).graph.node


def test_a_layer_that_reads_a_nearly_flat_picture_loses_less_than_by_plain_rounding():
    """A filter whose weights add up to nothing sees an edge where the picture has none, if its sum is off."""
    draw = np.random.default_rng(0)
    weight = draw.standard_normal((8, 12, 3, 3)).astype(np.float32)
    weight -= weight.mean((1, 2, 3), keepdims=True)
    model = graph("Conv", weight, (1, 12, 24, 24), {})
    x = (0.8 + 0.02 * draw.standard_normal((1, 12, 24, 24))).astype(np.float32)
    source, scheme = ranged(model, ["x"], [(x,)]), scheme_of("openvino")
    (exact,) = guest_session(model.SerializeToString()).run(["y"], {"x": x})
    found = []
    for kind in (scheme, replace(scheme, pairs_fit=False)):
        made = quantised(source, ["layer"], kind)
        (y,) = guest_session(made.SerializeToString()).run(["y"], {"x": x})
        found.append(sqnr_db([(y, exact)]))
    assert found[0] > found[1] + 6


def test_a_filter_of_zeros_has_a_scale():
    model = graph("Conv", np.zeros((2, 4, 1, 1), np.float32), (1, 4, 8, 8), {})
    (entries,) = fit_weights(model, ["layer"]).values()
    assert all(entry["scale"] > 0 for entry in entries)


def test_graphs_say_that_their_sums_fit_through_rewrites(folder):
    model = onnx.load(folder / "groups-of-eight.onnx")
    dense = run_passes(model, ["dense-groups"], "a test")
    assert dense is not model
    for made in (model, dense):
        assert [entry.key for entry in made.metadata_props] == [PAIRS_FIT]


def test_onnx_runtime_is_asked_by_a_product_that_would_overflow():
    model = onnx.ModelProto.FromString(_PRODUCT)
    onnx.checker.check_model(model, full_check=True)
    (node,), (weight,) = model.graph.node, model.graph.initializer
    assert node.op_type == "MatMulInteger"
    assert numpy_helper.to_array(weight).tolist() == [[127]] * 4
