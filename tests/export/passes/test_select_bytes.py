"""Rows of an 8-bit picture are gathered before they are decoded, and the function stays the same."""

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from torch import nn

from edgeflow.export.passes import run_passes
from edgeflow.ops.resize import bicubic


def decoded(picture):
    return picture.permute(0, 3, 1, 2).float() / 255


class Thumbnail(nn.Module):
    """A small copy of a picture; of the other picture also the whole, if wanted."""

    def __init__(self, height, width, whole=False):
        super().__init__()
        self.size, self.whole = (height, width), whole

    def forward(self, x, y):
        second = decoded(y)
        small = bicubic(decoded(x), *self.size) - bicubic(second, *self.size)
        return (small, second.mean(1)) if self.whole else (small,)


class Rows(nn.Module):
    """Rows that no product follows, and rows of planes that are not turned back."""

    def forward(self, x, y):
        rows = torch.tensor([2, 0])
        return decoded(x).permute(0, 2, 3, 1).index_select(1, rows) + 1, decoded(y).index_select(2, rows)


class LongRows(nn.Module):
    """Rows whose pixels and channels become one dimension."""

    def forward(self, x, y):
        rows = torch.tensor([2, 0, 3])
        first, second = (
            decoded(each).permute(0, 2, 3, 1).index_select(1, rows).flatten(2) for each in (x, y)
        )
        return (first - second, second)


def exported(module, x):
    sides = {1: torch.export.Dim("height"), 2: torch.export.Dim("width")}
    with torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            (x, x.clone()),
            dynamo=True,
            opset_version=19,
            verbose=False,
            dynamic_shapes=(sides, sides),
        )
    return program.model_proto


def pictures(height, width):
    return np.random.default_rng(height).integers(0, 256, (2, 1, height, width, 3), np.uint8)


def operators_that_read(model, name):
    return [node.op_type for node in model.graph.node if name in node.input and node.op_type != "Shape"]


def run(model, x, y):
    names = [info.name for info in model.graph.input]
    return ReferenceEvaluator(model).run(None, dict(zip(names, (x, y), strict=True)))


def rewritten(module, height=16, width=18):
    return run_passes(
        exported(module, torch.from_numpy(pictures(height, width)[0])), ["select-bytes"], "test"
    )


def compare(module, model, x, y):
    with torch.no_grad():
        wanted = module(torch.from_numpy(x), torch.from_numpy(y))
    for own, other in zip(run(model, x, y), wanted, strict=True):
        np.testing.assert_allclose(own, other, atol=2e-6)


@pytest.fixture(scope="module")
def thumbnail():
    module = Thumbnail(6, 7)
    return module, rewritten(module)


@pytest.mark.slow
def test_a_thumbnail_reads_bytes_alone_and_divides_what_it_keeps(thumbnail):
    _, model = thumbnail
    for info in model.graph.input:
        assert info.type.tensor_type.elem_type == onnx.TensorProto.UINT8
        assert operators_that_read(model, info.name) == ["Gather"]
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    divided = [makers[node.input[0]] for node in model.graph.node if node.op_type == "Div"]
    assert divided.count("MatMul") == 2


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 40), st.integers(4, 40))
def test_a_thumbnail_of_any_picture_is_the_same(thumbnail, height, width):
    compare(*thumbnail, *pictures(height, width))


@pytest.mark.slow
def test_what_else_reads_the_decoded_picture_keeps_it():
    module = Thumbnail(6, 7, whole=True)
    model = rewritten(module)
    compare(module, model, *pictures(20, 31))
    x, y = (info.name for info in model.graph.input)
    assert operators_that_read(model, x) == ["Gather"]
    assert sorted(operators_that_read(model, y)) == ["Gather", "Transpose"]


def test_rows_without_a_product_are_divided_themselves():
    model = rewritten(Rows())
    compare(Rows(), model, *pictures(12, 10))
    x, y = (info.name for info in model.graph.input)
    assert operators_that_read(model, x) == ["Gather"]
    assert operators_that_read(model, y) == ["Transpose"]


def test_long_rows_are_decoded_as_such():
    model = rewritten(LongRows())
    compare(LongRows(), model, *pictures(12, 10))
    for info in model.graph.input:
        assert operators_that_read(model, info.name) == ["Gather"]
    reshaped = [node.output[0] for node in model.graph.node if node.op_type == "Reshape"]
    assert [operators_that_read(model, name) for name in reshaped if "bytes" in name] == [["Cast"], ["Cast"]]
