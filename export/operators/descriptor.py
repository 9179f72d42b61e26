"""What the compiler knows of an operator beside its function: its plugin node, its body, its kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxscript
from numpy.typing import NDArray
from onnx.defs import OpSchema
from onnx.shape_inference import InferenceContext
from torch import nn

DOMAIN = "edgeflow"
PLUGIN_ATTRIBUTES = {"plugin_version": "1", "plugin_namespace": DOMAIN}
"""TensorRT's parser looks plugins up by these, in every release from 10.0 on."""

Size: TypeAlias = tuple[int, int] | Callable[[InferenceContext], onnx.TensorShapeProto.Dimension]
"""One dimension of an output: as (input, its dimension), or made of attributes."""

INT, INTS = OpSchema.AttrType.INT, OpSchema.AttrType.INTS


@dataclass(frozen=True)
class KernelDraft:
    """A kernel before its constants lie in a weight file.

    Attributes:
        name: as `edgeflow.runtime.kernels` knows it.
        constants: float32, by name.
        graph_work: FLOPs of the graph that it stands for, in FLOPs of the operator: a graph may compute twice what a kernel does once.
    """

    name: str
    constants: Mapping[str, NDArray[np.float32]]
    graph_work: int = 1


@dataclass(frozen=True)
class Plugin:
    """An operator as one node that a plugin implements.

    Attributes:
        node: its type; unique, since TensorRT's parser picks its own importers by type alone.
        leave: makes the node, from onnxscript's opset and the operator's own arguments.
        inputs: (name, type string): `T` is the type it computes in, `P` is float32.
        output: dimensions of its output, which has type T; the inputs that they are of have four.
        body: what it computes, as an ONNX function of opset 19 in ONNX's textual syntax. In single precision, whatever comes in.
        attributes: all required, besides those that name the plugin.
        optional: inputs at the end that may be left out.
        exact_inputs: positions of inputs whose makers, back to a heavy operator, compute in single precision.
        single_inputs: positions of inputs that stay single precision though the operator computes in half.
    """

    node: str
    leave: Callable[..., Any]
    inputs: tuple[tuple[str, str], ...]
    output: tuple[Size, ...]
    body: str
    attributes: Mapping[str, OpSchema.AttrType] = field(default_factory=dict)
    optional: int = 0
    exact_inputs: tuple[int, ...] = ()
    single_inputs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Operator:
    """An operator of `edgeflow.ops`, or of a package that names it by an entry point of the group `edgeflow.operators`.

    Attributes:
        name: as `custom_op` or `composite_op` registered it, `edgeflow::adabd`.
        plugin: as one node; None if it leaves as other operators in every form.
        kernel: the native kernel of a segment that is exactly this operator; None of another segment.
    """

    name: str
    plugin: Plugin | None = None
    kernel: Callable[[nn.Module], KernelDraft | None] = lambda segment: None


def plugin_opset() -> Any:
    """The namespace that plugin nodes are made from, as onnxscript has them."""
    return onnxscript.values.Opset(DOMAIN, 1)
