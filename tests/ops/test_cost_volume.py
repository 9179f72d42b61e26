"""What the parity suite does not ask of the cost volume: that a name costs nothing, and messages."""

from collections import Counter

import pytest
import torch
from operator_cases import Apply
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeflow.export.lowering.segment import SegmentModule, to_onnx
from edgeflow.ir.errors import FlowError
from edgeflow.ops.cost_volume import cost_volume, plain

FIRST, SECOND = torch.rand(2, 3, 5, 7), torch.rand(2, 3, 5, 7)


def nodes(module: nn.Module, form: str, free: dict):
    """Of the module's graph, with those dimensions free."""
    segment = SegmentModule(module, {}, (False, False), (False,))
    graph = to_onnx(segment, [FIRST, SECOND], [free, free], ["out.0"], "a test", form).graph
    for node in graph.node:
        del node.metadata_props[:]  # where in which source file
    return list(graph.node)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["native", "standard"])
def test_without_plugins_its_graph_is_that_of_plain_torch(form):
    free = {0: torch.export.Dim("n")}
    named, unnamed = (
        [(node.op_type, list(node.attribute)) for node in nodes(Apply(f, radius=2), form, free)]
        for f in (cost_volume, plain)
    )
    assert named == unnamed and "MatMul" in dict(named)


@pytest.mark.slow
def test_at_free_sizes_too_but_for_the_order_of_sizes():
    free = {0: torch.export.Dim("n"), 2: torch.export.Dim("h", min=2), 3: torch.export.Dim("w", min=2)}
    named, unnamed = (nodes(Apply(f, radius=2), "native", free) for f in (cost_volume, plain))
    assert Counter(node.op_type for node in named) == Counter(node.op_type for node in unnamed)


def test_it_trains_as_plain_torch_does():
    """To the last bit, and nothing is computed twice."""
    found = []
    for function in (cost_volume, plain):
        first, second = FIRST.clone().requires_grad_(), SECOND.clone().requires_grad_()
        with FlopCounterMode(display=False) as counter:
            made = function(first, second, 2)
            made.square().sum().backward()
        found.append((made.detach(), first.grad, second.grad, counter.get_total_flops()))
    for one, other in zip(*found, strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))


def test_its_flops_are_those_of_its_row_products():
    with FlopCounterMode(display=False) as counter:
        cost_volume(FIRST, SECOND, 2)
    n, c, height, width = FIRST.shape
    assert counter.get_total_flops() == 2 * n * height * 5 * width * (width + 4) * c


@pytest.mark.parametrize(
    ("second", "radius", "message"),
    [
        (SECOND[..., 1:], 2, r"\(2, 3, 5, 7\) and \(2, 3, 5, 6\)"),
        (SECOND[:1], 2, r"\(2, 3, 5, 7\) and \(1, 3, 5, 7\)"),
        (SECOND[0], 2, "twice"),
        (SECOND, -1, "the radius is -1"),
    ],
)
def test_what_does_not_fit_is_named(second, radius, message):
    with pytest.raises(FlowError, match=message):
        cost_volume(FIRST, second, radius)
