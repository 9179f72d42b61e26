"""Joins segment graphs into one stage graph, with canonical names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from edgeflow.export.drafts import Link, Variant
from edgeflow.export.heavy import add_tensor, check
from edgeflow.export.passes.untie_weights import UNTIED
from edgeflow.ir.plan import EXACT as EXACT
from edgeflow.ir.plan import MEAN as MEAN

OWNER = "owner"
"""What a lowered segment's weights are named by, before their names in the segment: `owner.blocks.0.conv.weight`."""


COLUMNS = onnx.numpy_helper.from_array(np.array([3]), "columns")
PLANES = onnx.numpy_helper.from_array(np.array([1, 2]), "planes_and_rows")
"""The axes that a picture's mean is taken over, one after the other."""


def link(variant: Variant, graphs: Mapping[Link, onnx.ModelProto], images: set[str]) -> onnx.ModelProto:
    """One model that runs a variant's calls in order.

    Args:
        variant: its links and what goes in and out.
        graphs: per link, a model with inputs `in.0`, ... and outputs `out.0`, ...
        images: values held as uint8; as outputs they are made in both forms, with their mean.

    Returns:
        A model whose inputs and outputs bear the names of program values. Initialisers are
        named by their content, so equal weights have equal names in every graph, but for those that were untied.
    """
    nodes: list[onnx.NodeProto] = []
    initialisers: dict[str, onnx.TensorProto] = {}
    tensors = {name: name for name in variant.inputs}
    types: dict[str, onnx.ValueInfoProto] = {}
    for number, part in enumerate(variant.links):
        graph = graphs[part].graph
        names = {f"in.{i}": tensors[name] for i, name in enumerate(part.call.inputs)}
        for i, name in enumerate(part.call.outputs):
            inner = f"{number}/out.{i}"
            tensors[name] = names[f"out.{i}"] = inner
            if name in images:
                tensors[name + EXACT] = names[f"out.{i}{EXACT}"] = inner + EXACT
        for tensor in graph.initializer:
            content = _content_name(tensor)
            initialisers[content] = tensor
            if tensor.name in names:  # an output that is constant
                nodes.append(_constant(content, names[tensor.name], part.call.segment, len(nodes)))
            names.setdefault(tensor.name, content)
        for node in graph.node:
            nodes.append(_renamed_node(node, names, number))
            nodes[-1].name = f"{part.call.segment}/{_layer(node)}{node.op_type}_{len(nodes) - 1}"
        for info in (*graph.input, *graph.output):
            types.setdefault(names[info.name], info)
    outputs = _outputs(variant, images)
    for name, source in outputs:
        nodes.append(onnx.helper.make_node("Identity", [tensors[source]], [name], name=f"output/{name}"))
    pictures = [(name, tensors[source + EXACT]) for name, source in variant.outputs if source in images]
    for name, exact in pictures:
        nodes += _mean(name, exact)
        initialisers |= {tensor.name: tensor for tensor in (COLUMNS, PLANES)}
    first = graphs[variant.links[0]]
    opsets = {entry.domain: entry for part in variant.links for entry in graphs[part].opset_import}
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            _without_identities(nodes, [name for name, _ in outputs]),
            "stage",
            [_info(types[name], name) for name in variant.inputs],
            [
                *(_info(types[tensors[source]], name) for name, source in outputs),
                *(_mean_info(name, types[exact]) for name, exact in pictures),
            ],
        ),
        opset_imports=list(opsets.values()),
        functions=first.functions,
        ir_version=10,
        producer_name="edgeflow",
    )
    for name in sorted(initialisers):
        add_tensor(model.graph, initialisers[name], name)
    check(model)
    return model


def _constant(tensor: str, output: str, segment: str, number: int) -> onnx.NodeProto:
    return onnx.helper.make_node("Identity", [tensor], [output], name=f"{segment}/Identity_{number}")


def _outputs(variant: Variant, images: set[str]) -> list[tuple[str, str]]:
    pairs = list(variant.outputs)
    return pairs + [(name + EXACT, source + EXACT) for name, source in pairs if source in images]


def _mean(name: str, exact: str) -> list[onnx.NodeProto]:
    """Nodes that take a picture's mean: not finite where a pixel is not, which bytes cannot show.

    Each row's first: half precision, in which some devices compute, cannot hold the sum of a picture.
    """
    rows, mean = f"{name}{MEAN}/rows", f"{name}{MEAN}"
    steps = ((exact, COLUMNS, rows), (rows, PLANES, mean))
    return [
        onnx.helper.make_node("ReduceMean", [source, axes.name], [made], name=f"output/{made}", keepdims=0)
        for source, axes, made in steps
    ]


def _mean_info(name: str, exact: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """(n,) of a picture (n, channels, height, width)."""
    info = _info(exact, name + MEAN)
    del info.type.tensor_type.shape.dim[1:]
    return info


def _content_name(tensor: onnx.TensorProto) -> str:
    digest = hashlib.sha256(f"{tensor.data_type}{list(tensor.dims)}".encode())
    digest.update(tensor.raw_data)
    return f"w_{digest.hexdigest()[:20]}{UNTIED if tensor.name.endswith(UNTIED) else ''}"


def _layer(node: onnx.NodeProto) -> str:
    """The module whose weight a node reads, as the segment knows it, and a slash; empty where that is unknown."""
    weight = node.input[1] if len(node.input) > 1 else ""
    inside, _, _ = weight.removeprefix(f"{OWNER}.").rpartition(".")
    return f"{inside}/" if weight.startswith(f"{OWNER}.") and inside else ""


def _renamed_node(node: onnx.NodeProto, names: dict[str, str], number: int) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for output in node.output:
        if output:
            names.setdefault(output, f"{number}/{output}")
    for field, source in ((copy.input, node.input), (copy.output, node.output)):
        del field[:]
        field.extend(names[name] if name else "" for name in source)
    return copy


def _without_identities(nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> list[onnx.NodeProto]:
    """Let the maker of an output write it directly, where nothing else carries that name."""
    makers = {name: node for node in nodes for name in node.output}
    kept, renamed = [], {}
    for node in nodes:
        source = node.input[0] if node.op_type == "Identity" else ""
        if source in makers and node.output[0] in outputs and source not in renamed:
            renamed[source] = node.output[0]
            continue
        kept.append(node)
    for node in kept:
        for field in (node.input, node.output):
            new = [renamed.get(name, name) for name in field]
            del field[:]
            field.extend(new)
    return kept


def _info(info: onnx.ValueInfoProto, name: str) -> onnx.ValueInfoProto:
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(info)
    copy.name = name
    return copy
