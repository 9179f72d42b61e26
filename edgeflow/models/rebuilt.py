"""Compressed networks from files: the layers take the widths of the weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from edgeflow.models.weights import check_fit, read_weights


def rebuilt(module: nn.Module, path: Path) -> nn.Module:
    """Give a network the weights of its compressed self, and its layers their widths.

    Args:
        module: as it was before it was compressed; it is changed.
        path: of the file that `edgeflow compress` wrote.

    Returns:
        The module.

    Raises:
        TrainError: no such file, one that is not whole, or one of another network.
    """
    tensors, facts = read_weights(path)
    for name, layer in module.named_modules():
        weight = tensors.get(f"{name}.weight" if name else "weight")
        if weight is not None and layer.weight.shape != weight.shape:
            _resize(layer, weight)
    check_fit(module.state_dict(), tensors, path, facts)
    module.load_state_dict(tensors)
    return module


def _resize(layer: nn.Module, weight: torch.Tensor) -> None:
    """Make a layer as wide as a weight of as many dimensions; other layers stay, and are refused by their shapes."""
    if weight.dim() != layer.weight.dim():  # type: ignore[operator]
        return
    out = weight.shape[0]
    if isinstance(layer, _ConvNd):
        depthwise = layer.groups == layer.in_channels == layer.out_channels
        first, second = weight.shape[0], weight.shape[1]
        layer.groups = first if depthwise else layer.groups
        if isinstance(layer, _ConvTransposeNd):
            layer.in_channels, layer.out_channels = first, second * layer.groups
        else:
            layer.out_channels, layer.in_channels = first, second * layer.groups
        out = layer.out_channels
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = weight.shape
    elif isinstance(layer, _BatchNorm):
        layer.num_features = out
        if layer.running_mean is not None and layer.running_var is not None:
            layer.running_mean, layer.running_var = torch.zeros(out), torch.ones(out)
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = out
    elif isinstance(layer, nn.GroupNorm):
        layer.num_channels = out
    elif isinstance(layer, nn.LayerNorm):
        layer.normalized_shape = tuple(weight.shape)
    layer.weight = nn.Parameter(torch.empty_like(weight))
    if getattr(layer, "bias", None) is not None:
        layer.bias = nn.Parameter(torch.empty(out))
