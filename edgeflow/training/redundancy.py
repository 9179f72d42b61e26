"""How alike the feature maps of a network are, over time and over channels.

Source: VA-RED2, Appendix C and Table 12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from edgeflow.flow.eager import Eager
from edgeflow.flow.module import RoutedModule
from edgeflow.ir.errors import FlowError

ALIKE = 0.85
"""A map whose correlation with another is above this, and whose distance from it is above `DEAD`, is redundant."""
DEAD = 0.001
"""A share of the layer's largest value. Maps closer than this are the same: both are dead, or what they show stands still."""
MOST_CHANNELS = 256
"""Maps of a layer that are compared with one another; of more, these are spread evenly."""


@dataclass(frozen=True)
class Redundancy:
    """How alike the maps of a layer are along an axis.

    Attributes:
        correlation: Pearson's, the mean over pairs of maps of which neither is constant.
        rmse: root of the mean squared difference, the mean over pairs, over the layer's largest value.
        proportion: of maps that are like one that comes before them.
        same: of maps that are the same as one that comes before them.
    """

    correlation: float
    rmse: float
    proportion: float
    same: float


@dataclass(frozen=True)
class LayerRedundancy:
    """A convolution's outputs; `temporal` is None where it sees one frame."""

    layer: str
    temporal: Redundancy | None
    channel: Redundancy


@torch.no_grad()
def redundancy(model: RoutedModule, calls: Sequence[Sequence[Tensor]]) -> tuple[LayerRedundancy, ...]:
    """Compare the output maps of every convolution that runs as a module, with one another.

    Args:
        model: in eval mode, run eagerly; of a network with gates give the plain one, whose convolutions compute everything.
        calls: inputs of calls, (1, ...) each; means are taken over them.

    Raises:
        FlowError: no convolution ran as a module.
    """
    found: dict[str, list[tuple[Redundancy | None, Redundancy]]] = {}
    handles = [
        module.register_forward_hook(_keeper(found.setdefault(name, [])))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Conv3d)
    ]
    try:
        eager = Eager(model)
        for inputs in calls:
            eager(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    layers = tuple(
        LayerRedundancy(
            name,
            _mean([t for t, _ in seen if t is not None]),
            _mean([c for _, c in seen]),  # type: ignore[arg-type]
        )
        for name, seen in found.items()
        if seen
    )
    if not layers:
        raise FlowError(
            f"{type(model).__name__} has no convolution that runs as a module, so there are no maps to compare"
        )
    return layers


def over_layers(layers: Sequence[LayerRedundancy]) -> Mapping[str, Redundancy | None]:
    """The means over all layers, by axis."""
    times = [layer.temporal for layer in layers if layer.temporal is not None]
    return {"temporal": _mean(times), "channel": _mean([layer.channel for layer in layers])}


def _keeper(into: list[tuple[Redundancy | None, Redundancy]]) -> Callable[..., None]:
    def keep(module: nn.Module, inputs: Any, made: Tensor) -> None:
        maps = _maps(made)
        into.append((_along(maps) if maps.shape[1] > 1 else None, _along(maps.transpose(0, 1))))

    return keep


def _maps(made: Tensor) -> Tensor:
    """(channels, frames, pixels) of one clip: of a picture's convolution the batch is the frames."""
    clip = made[0] if made.ndim == 5 else made.transpose(0, 1)
    few = torch.linspace(0, len(clip) - 1, min(len(clip), MOST_CHANNELS)).round().long()
    return clip[few].flatten(2).double()


def _along(maps: Tensor) -> Redundancy:
    """(groups, maps, pixels): every map of a group with every other one."""
    pixels = maps.shape[2]
    largest = maps.abs().max().clamp(min=1e-12)
    scaled = maps / largest
    power = (scaled**2).mean(2)
    products = scaled @ scaled.transpose(1, 2) / pixels
    distance = (power[:, :, None] + power[:, None] - 2 * products).clamp(min=0).sqrt()
    centred = scaled - scaled.mean(2, keepdim=True)
    spread = (centred**2).mean(2).sqrt()
    varied = spread > 1e-9
    normed = centred / spread.clamp(min=1e-9)[..., None]
    correlation = normed @ normed.transpose(1, 2) / pixels
    before = torch.ones(distance.shape[1:], dtype=torch.bool).tril(-1).expand_as(distance)
    both = before & varied[:, :, None] & varied[:, None]
    same = (before & (distance <= DEAD)).any(2)
    like = (both & (correlation > ALIKE) & (distance > DEAD)).any(2)
    return Redundancy(
        float(correlation[both].mean()) if both.any() else 0.0,
        float(distance[before].mean()) if before.any() else 0.0,
        float((like & ~same).double().mean()),
        float(same.double().mean()),
    )


def _mean(found: Sequence[Redundancy]) -> Redundancy | None:
    if not found:
        return None
    values = {f.name: sum(getattr(each, f.name) for each in found) / len(found) for f in fields(Redundancy)}
    return Redundancy(**values)
