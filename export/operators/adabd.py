"""AdaBD as one node, and as a native kernel."""

from __future__ import annotations

from typing import Any

from torch import nn

from edgeflow.export.operators.descriptor import (
    PLUGIN_ATTRIBUTES,
    KernelDraft,
    Operator,
    Plugin,
    plugin_opset,
)
from edgeflow.ops.adabd import AdaBD


def leave(op: Any, current: Any, reference: Any, offset: Any, mask: Any, weight: Any) -> Any:
    """`EdgeflowAdaBD(current, reference, offset, mask, weight)`."""
    return plugin_opset().EdgeflowAdaBD(current, reference, offset, mask, weight, **PLUGIN_ATTRIBUTES)


BODY = """
EdgeflowAdaBD <plugin_version, plugin_namespace> (current, reference, offset, mask, weight) => (y)
{
    single = CastLike (current, offset)
    single_reference = CastLike (reference, offset)
    single_weight = CastLike (weight, offset)
    zero = Constant <value_float: float = 0.0> ()
    one = Constant <value_float: float = 1.0> ()
    shape = Shape (offset)
    still = Expand (zero, shape)
    rest = Sub (one, mask)
    plain = DeformConv <pads: ints = [1, 1, 1, 1]> (single, single_weight, still, , mask)
    moved = DeformConv <pads: ints = [1, 1, 1, 1]> (single_reference, single_weight, offset, , rest)
    blended = Add (plain, moved)
    y = CastLike (blended, current)
}"""


def kernel(segment: nn.Module) -> KernelDraft | None:
    """The kernel of a segment that is an `AdaBD`; as a graph it is two products (Eq. 6)."""
    if not isinstance(segment, AdaBD):
        return None
    weight = segment.weight.detach().cpu().float().contiguous().numpy()
    return KernelDraft("adabd", {"weight": weight}, graph_work=2)


OPERATOR = Operator(
    "edgeflow::adabd",
    Plugin(
        "EdgeflowAdaBD",
        leave,
        inputs=(("current", "T"), ("reference", "T"), ("offset", "P"), ("mask", "P"), ("weight", "T")),
        output=((0, 0), (4, 0), (2, 2), (2, 3)),
        body=BODY,
        exact_inputs=(2,),
        single_inputs=(2, 3),
    ),
    kernel,
)
