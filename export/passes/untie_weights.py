"""A weight that several kinds of convolution share, once for each kind.

OpenVINO lays a constant out anew for the kind that it meets first, and reads it wrongly in the other: an encoder's
weight that its decoder's transposed convolution uses again gives wrong values there.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

UNTIED = ".untied"
"""Ends the name of such a copy, so that linking, which names weights by their content, leaves it apart."""


def rewrite(graph: gs.Graph) -> int:
    """Give every transposed convolution a copy of a weight that other operators read too."""
    count = 0
    for node in graph.nodes:
        weight = node.inputs[1] if node.op == "ConvTranspose" else None
        if isinstance(weight, gs.Constant) and any(other.op != "ConvTranspose" for other in weight.outputs):
            node.inputs[1] = gs.Constant(f"{weight.name}.{node.name}{UNTIED}", weight.values.copy())
            count += 1
    return count
