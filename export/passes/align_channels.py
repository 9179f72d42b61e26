"""Zero channels where they let ONNX Runtime lay convolutions out in blocks.

Its blocked layout takes a convolution only if its input channels are a multiple of 4. A densely connected
decoder after a cost volume (49 or 81 channels, and what is concatenated in front) has none that are, nor has what a
measured density leaves of a network. Zeros are appended to the tensor from which such a chain grows and zero weights to all that reads it: the
same sums. A convolution that makes the tensor makes the zeros as well, by filters of zeros in the rest of its last block.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

ALIGNMENT = 4
FEWEST = 16
"""Convolutions of fewer channels than a block are read unblocked, whatever their number."""
_KEEPS_ZERO = ("LeakyRelu", "PRelu", "Relu", "Resize")
"""What may stand between a convolution and those that read it."""
_CHANNELS = {"Conv": 1, "ConvTranspose": 0}
"""The axis of input channels in the weights."""


def rewrite(graph: gs.Graph) -> int:
    """Align every chain that only convolutions read in the end; returns how many convolutions gained zeros."""
    changed = 0
    for node in list(graph.nodes):
        for tensor in node.outputs:
            if _misaligned(tensor):
                convolutions = _readers(graph, tensor)
                if convolutions:
                    _extend(graph, tensor, convolutions)
                    changed += len(convolutions)
    return changed


def _misaligned(tensor: gs.Tensor) -> bool:
    shape = tensor.shape
    known = shape is not None and len(shape) == 4 and all(isinstance(size, int) for size in shape)
    return known and tensor.dtype == np.float32 and shape[1] >= FEWEST and shape[1] % ALIGNMENT != 0


def _readers(graph: gs.Graph, tensor: gs.Tensor) -> list[gs.Node] | None:
    """The convolutions that read a tensor, or what it is the last part of; None if anything else does."""
    found: list[gs.Node] = []
    if any(tensor is output for output in graph.outputs):
        return None
    for node in tensor.outputs:
        if _last_part(node, tensor):
            grown = _readers(graph, node.outputs[0])
            if grown is None:
                return None
            found += grown
        elif node.op in _CHANNELS and node.attrs.get("group", 1) == 1 and _weighs(node, tensor):
            found.append(node)
        else:
            return None
    return found


def _last_part(node: gs.Node, tensor: gs.Tensor) -> bool:
    inputs = node.inputs
    joined = node.op == "Concat" and node.attrs["axis"] == 1
    return joined and inputs[-1] is tensor and sum(part is tensor for part in inputs) == 1


def _weighs(node: gs.Node, tensor: gs.Tensor) -> bool:
    return node.inputs[0] is tensor and isinstance(node.inputs[1], gs.Constant)


def _extend(graph: gs.Graph, tensor: gs.Tensor, convolutions: list[gs.Node]) -> None:
    more = -tensor.shape[1] % ALIGNMENT
    makers = _makers(graph, tensor)
    if makers:
        _make_more(makers, more)
        _grow(tensor, more)
    else:
        _append(graph, tensor, more)
    for node in convolutions:
        _lengthen(node, 1, _CHANNELS[node.op], more)


def _makers(graph: gs.Graph, tensor: gs.Tensor) -> list[gs.Node]:
    """The convolution that makes a tensor and what stands between, the last one first; none if something else makes it or reads what is between."""
    (maker,) = tensor.inputs
    if not all(isinstance(each, gs.Constant) or each.is_empty() for each in maker.inputs[1:]):
        return []
    if maker.op == "Conv":
        return [maker] if maker.attrs.get("group", 1) == 1 else []
    sized = len(maker.inputs) > 3  # a resize to sizes, which hold the channels, too
    if maker.op not in _KEEPS_ZERO or sized or not maker.inputs[0].inputs:
        return []
    (given, *_) = maker.inputs
    alone = len(given.outputs) == 1 and not any(given is output for output in graph.outputs)
    before = _makers(graph, given) if alone else []
    return [maker, *before] if before else []


def _make_more(makers: list[gs.Node], more: int) -> None:
    """Zeros in further channels."""
    for node in makers[1:]:
        (made,) = node.outputs
        if made.shape is not None:
            made.shape = [made.shape[0], made.shape[1] + more, *made.shape[2:]]
    for node in makers:
        for position, axis in {"Conv": ((1, 0), (2, 0)), "PRelu": ((1, -3),)}.get(node.op, ()):
            if len(node.inputs) > position and node.inputs[position].values.size > 1:
                _lengthen(node, position, axis, more)


def _lengthen(node: gs.Node, position: int, axis: int, more: int) -> None:
    """Zeros after a constant that a node reads."""
    constant = node.inputs[position]
    padding = [(0, 0)] * constant.values.ndim
    padding[axis] = (0, more)
    name = f"{constant.name}/{node.outputs[0].name}.{axis}"  # a weight may be read by others
    node.inputs[position] = gs.Constant(name, np.pad(constant.values, padding))


def _append(graph: gs.Graph, tensor: gs.Tensor, more: int) -> None:
    """Zeros after a tensor's channels."""
    n, channels, height, width = tensor.shape
    zeros = gs.Constant(f"{tensor.name}/zeros", np.zeros((n, more, height, width), np.float32))
    _grow(tensor, more)
    maker = tensor.inputs[0]
    if maker.op == "Concat" and maker.attrs["axis"] == 1:
        maker.inputs.append(zeros)
    else:
        alone = gs.Variable(f"{tensor.name}/alone", np.float32, [n, channels, height, width])
        maker.outputs[[made is tensor for made in maker.outputs].index(True)] = alone
        graph.nodes.append(gs.Node("Concat", f"{tensor.name}/aligned", {"axis": 1}, [alone, zeros], [tensor]))


def _grow(tensor: gs.Tensor, more: int) -> None:
    """Note the channels that a tensor, and all that it is the last part of, has more."""
    tensor.shape = [tensor.shape[0], tensor.shape[1] + more, *tensor.shape[2:]]
    for node in tensor.outputs:
        if _last_part(node, tensor):
            _grow(node.outputs[0], more)
