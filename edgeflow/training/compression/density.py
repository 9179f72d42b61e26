"""How many of a layer's weights are left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn
from torch.nn.modules.conv import _ConvNd

LAYERS = (_ConvNd, nn.Linear)
"""Layers that have densities and widths."""


def layers_of(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Convolutions and linear layers by their dotted names, in the order of the module."""
    return ((name, layer) for name, layer in module.named_modules() if isinstance(layer, LAYERS))


def densities(module: nn.Module) -> dict[str, float]:
    """Share of nonzero weights of every layer, by its name. Source: ST-MFNet Mini, Eq. 3."""
    return {
        name: float(layer.weight.count_nonzero()) / layer.weight.numel()  # type: ignore[operator]
        for name, layer in layers_of(module)
    }


def overall(module: nn.Module, of: Mapping[str, float]) -> float:
    """Share of nonzero weights of all layers together."""
    counts = {name: layer.weight.numel() for name, layer in layers_of(module)}  # type: ignore[operator]
    return sum(of[name] * count for name, count in counts.items()) / max(sum(counts.values()), 1)


def component_densities(module: nn.Module, of: Mapping[str, float]) -> dict[str, float]:
    """Share of nonzero weights of the module's direct children that hold layers, by their names."""
    found = {}
    for name, child in module.named_children():
        own = dict(layers_of(child))
        if own:
            within = {layer: of[f"{name}.{layer}" if layer else name] for layer in own}
            found[name] = overall(child, within)
    return found
