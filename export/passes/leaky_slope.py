"""A PReLU of one slope as a leaky ReLU.

ONNX Runtime broadcasts a PReLU's slope pixel by pixel; of a leaky ReLU it knows the number, and computes it with the convolution before it.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs


def rewrite(graph: gs.Graph) -> int:
    """Replace every PReLU whose slopes are known and one number."""
    return sum(_replace(node) for node in graph.nodes if node.op == "PRelu")


def _replace(node: gs.Node) -> bool:
    given, slope = node.inputs
    if not isinstance(slope, gs.Constant) or given.dtype != np.float32 or np.ptp(slope.values) != 0:
        return False
    node.op = "LeakyRelu"
    node.attrs["alpha"] = float(slope.values.flat[0])
    node.inputs.pop()
    return True
