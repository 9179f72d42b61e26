"""Whether a model is one that can be exported at all: what is wrong with it as a whole, said before any work."""

from __future__ import annotations

from inspect import signature

import torch
from torch import nn

from edgeflow.flow.module import RoutedModule
from edgeflow.ir.errors import FlowError

_HALF = (torch.float16, torch.bfloat16)


def check_model(model: RoutedModule) -> None:
    """Refuse a model that has no interface, whose parts are compiled already, or whose weights are no use.

    Raises:
        FlowError: names the part or the weight, and says what to do.
    """
    for declared in ("inputs", "outputs"):
        if not getattr(model, declared, None):
            raise FlowError(
                f"{type(model).__name__} declares no {declared}: write "
                f'{declared} = (Image("{"frame" if declared == "inputs" else "picture"}"),) in the class'
            )
    try:
        signature(model.flow).bind(None, *model.inputs)
    except TypeError as error:
        names = ", ".join(spec.name for spec in model.inputs)
        raise FlowError(
            f"{type(model).__name__} declares the inputs {names}, and its flow does not take them: write flow(self, f, {names})"
        ) from error
    for name, module in model.named_modules():
        if way := _compiled_by(module):
            raise FlowError(
                f"{name or type(model).__name__} was made by {way}: edgeflow compiles the plain module, so give it that one"
            )
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.dtype in _HALF:
            raise FlowError(
                f"{name} is {str(tensor.dtype).removeprefix('torch.')}: models come in float32 (model.float()); the precision "
                "of their engines is chosen by --precision"
            )
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise FlowError(f"{name} holds NaN or infinity: load weights that are whole")


def _compiled_by(module: nn.Module) -> str:
    """What compiled a module; nothing if it is as it was written."""
    if isinstance(module, torch.jit.ScriptModule):
        return "torch.jit"
    if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None:
        return "torch.compile"
    if hasattr(type(module).forward, "_torchdynamo_orig_callable"):
        return "torch.compile"
    return ""
