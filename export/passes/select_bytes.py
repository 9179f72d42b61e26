"""Selects from 8-bit pictures what is wanted of them before it is decoded.

A picture (n, height, width, channels) of bytes is decoded by a transposition to planes, a cast and a division. A
thumbnail turns the planes back, gathers rows and weighs them by a matrix product. All of these but the cast are
linear and the turns cancel, so the rows are gathered as bytes, and what the product leaves is divided. Rows that are made one long
dimension are decoded as such: loops over the last dimension, of three channels, are slow.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs


def rewrite(graph: gs.Graph) -> int:
    """Gather from every 8-bit input itself; returns how many selections were moved."""
    pictures = [tensor for tensor in graph.inputs if tensor.dtype == np.uint8]
    return sum(
        _move(graph, picture, scale, gather)
        for picture in pictures
        for scale, gather in _selections(picture)
        if gather.outputs[0] not in graph.outputs
    )


def _selections(picture: gs.Tensor) -> list[tuple[gs.Constant, gs.Node]]:
    """Every gather from the decoded picture in the layout of its bytes, and what the bytes are divided by."""
    found = []
    for planes in _readers(picture, "Transpose"):
        for cast in _readers(planes.outputs[0], "Cast"):
            for divide in _readers(cast.outputs[0], "Div"):
                scale = divide.inputs[1]
                if not isinstance(scale, gs.Constant) or scale.values.size != 1:
                    continue
                for back in _readers(divide.outputs[0], "Transpose"):
                    if [planes.attrs["perm"][i] for i in back.attrs["perm"]] == [0, 1, 2, 3]:
                        found += [(scale, gather) for gather in _readers(back.outputs[0], "Gather")]
    return found


def _move(graph: gs.Graph, picture: gs.Tensor, scale: gs.Constant, gather: gs.Node) -> int:
    result = gather.outputs[0]
    rows = gs.Variable(f"{result.name}/bytes", np.uint8)
    graph.nodes.append(
        gs.Node("Gather", f"{gather.name}/bytes", dict(gather.attrs), [picture, gather.inputs[1]], [rows])
    )
    product = _only_product(result)
    if product is None and (reshape := _only_reader(result, "Reshape")) is not None:
        result, rows = reshape.outputs[0], _reshaped(graph, reshape, rows)
    values = gs.Variable(f"{result.name}/cast", np.float32, result.shape)
    graph.nodes.append(gs.Node("Cast", f"{gather.name}/cast", {"to": np.float32}, [rows], [values]))
    if product is None or any(product.outputs[0] is output for output in graph.outputs):
        undivided, divided = values, result
        result.inputs.clear()
    else:
        (reshape,) = result.outputs
        reshape.inputs[0] = values
        divided = product.outputs[0]
        undivided = gs.Variable(f"{divided.name}/undivided", np.float32, divided.shape)
        product.outputs = [undivided]
    graph.nodes.append(gs.Node("Div", f"{gather.name}/scale", {}, [undivided, scale], [divided]))
    return 1


def _reshaped(graph: gs.Graph, reshape: gs.Node, rows: gs.Variable) -> gs.Variable:
    """The bytes in the shape that the decoded rows are given."""
    shaped = gs.Variable(f"{rows.name}/reshaped", np.uint8, reshape.outputs[0].shape)
    graph.nodes.append(
        gs.Node("Reshape", f"{reshape.name}/bytes", dict(reshape.attrs), [rows, reshape.inputs[1]], [shaped])
    )
    return shaped


def _readers(tensor: gs.Tensor, op: str) -> list[gs.Node]:
    return [node for node in tensor.outputs if node.op == op and node.inputs[0] is tensor]


def _only_product(tensor: gs.Tensor) -> gs.Node | None:
    """The matrix product that a tensor, reshaped, is the right side of, if nothing else reads it on the way."""
    reshape = _only_reader(tensor, "Reshape")
    return None if reshape is None else _only_reader(reshape.outputs[0], "MatMul", 1)


def _only_reader(tensor: gs.Tensor, op: str, position: int = 0) -> gs.Node | None:
    """The one node that reads a tensor, if it is of a kind and reads it in this place."""
    if len(tensor.outputs) != 1 or tensor.outputs[0].op != op:
        return None
    node = tensor.outputs[0]
    return node if node.inputs[position] is tensor else None
