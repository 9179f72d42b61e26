"""Two kinds of operators: custom ones bring shapes, gradients and counts; composite ones are plain torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch.utils.flop_counter import register_flop_formula


@dataclass(frozen=True)
class Counts:
    """What an operator does, by its shapes.

    Attributes:
        flops: of its matrix product, 2 per multiply-accumulate. Reports and resource losses count these.
        sampling_flops: of everything else: bilinear interpolation is 7 per sampled value (4 products, 3 sums),
            a mask 1, a blend of two values 3. Reports leave them out, as they do all elementwise work.
        bytes: of float32 operands and the result, each once. What a form keeps in between is its own.
    """

    flops: int
    sampling_flops: int
    bytes: int


OnnxForm: TypeAlias = Callable[..., Any]
"""An operator in ONNX: from the namespace of the opset (onnxscript's), then the operator's own arguments.

Shapes are known but for the batch."""


@dataclass(frozen=True)
class OnnxForms:
    """How an operator leaves for ONNX.

    Attributes:
        native: around `DeformConv` (opset 19), which engine libraries have a kernel for.
        standard: without, for those that lack it.
    """

    native: OnnxForm
    standard: OnnxForm


FORMS: dict[str, OnnxForms] = {}
"""Forms of every custom operator, by its name. A composite operator leaves as its plain torch does."""

PLAIN: dict[str, Callable[..., torch.Tensor]] = {}
"""Every operator, custom or composite, in plain torch, by its name."""


def custom_op(
    name: str,
    reference: Callable[..., torch.Tensor],
    counts: Callable[..., Counts],
    forms: OnnxForms,
) -> Callable[[Callable[..., torch.Tensor]], Any]:
    """Decorates the shape function of an operator, whose annotations are its schema.

    The operator computes what `reference` computes and is differentiated through it. Exporters see one
    node, `FlopCounterMode` counts `counts(*shapes).flops`.

    Args:
        name: `edgeflow::...`, or in a namespace of your own.
        reference: the operator in plain, differentiable torch.
        counts: from the operator's arguments, with shapes for tensors.
        forms: in ONNX.
    """
    FORMS[name], PLAIN[name] = forms, reference

    def register(shape: Callable[..., torch.Tensor]) -> Any:
        def forward(*arguments: Any) -> torch.Tensor:
            return reference(*arguments).contiguous()

        schema = torch.library.infer_schema(shape, mutates_args=())
        op = torch.library.custom_op(name, forward, mutates_args=(), schema=schema)
        op.register_fake(shape)
        op.register_autograd(_backward(reference), setup_context=_keep)
        packet = _packet(name)

        def flops(*shapes: Any, out_shape: Any = None, **_: Any) -> int:
            return counts(*shapes).flops

        register_flop_formula(packet)(flops)
        return op

    return register


def composite_op(
    name: str,
) -> Callable[[Callable[..., torch.Tensor]], Callable[..., torch.Tensor]]:
    """Decorates an operator in plain, differentiable torch, whose annotations are its schema.

    The operator is that torch to autograd, fake tensors, counters and every exporter, so nothing of it costs
    more than without a name. By the name an exporter may have it as one node: for a plugin.

    Args:
        name: `edgeflow::...`, or in a namespace of your own.
    """

    def register(plain: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        torch.library.define(name, torch.library.infer_schema(plain, mutates_args=()))
        torch.library.impl(name, "CompositeImplicitAutograd", plain)
        PLAIN[name] = plain
        return plain

    return register


def overload(name: str) -> Any:
    """An operator as it stands in a graph, by its name."""
    return _packet(name).default


def _packet(name: str) -> Any:
    space, _, own = name.partition("::")
    return getattr(getattr(torch.ops, space), own)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    places = [i for i, x in enumerate(inputs) if isinstance(x, torch.Tensor)]
    ctx.places, ctx.plain = places, [None if i in places else x for i, x in enumerate(inputs)]
    ctx.save_for_backward(*(inputs[i] for i in places))


def _backward(reference: Callable[..., torch.Tensor]) -> Callable[..., tuple[torch.Tensor | None, ...]]:
    """Gradients by running the reference again: its intermediates are many times its operands."""

    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        arguments = list(ctx.plain)
        for place, tensor in zip(ctx.places, ctx.saved_tensors, strict=True):
            arguments[place] = tensor.detach().requires_grad_(ctx.needs_input_grad[place])
        wanted = [place for place in ctx.places if ctx.needs_input_grad[place]]
        with torch.enable_grad():
            made = reference(*arguments)
            found = torch.autograd.grad(made, [arguments[place] for place in wanted], gradient)
        gradients: list[torch.Tensor | None] = [None] * len(arguments)
        for place, value in zip(wanted, found, strict=True):
            gradients[place] = value
        return tuple(gradients)

    return backward
