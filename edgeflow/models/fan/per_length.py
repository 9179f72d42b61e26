"""Parts of a network that are one for every clip length, beside weights that all lengths share."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
"""What is specialised: `torch.nn`'s norms of any rank."""


class Length:
    """The clip length that a network computes for now, as its position among its lengths. All its parts share one."""

    def __init__(self) -> None:
        self.position = 0


class PerLength(nn.Module):
    """A normalisation for every clip length.

    Args:
        norm: each begins as.
        count: of lengths.
        length: that the network computes for.

    Source: FAN, section 4.2 (Specialized Normalization).
    """

    def __init__(self, norm: nn.Module, count: int, length: Length) -> None:
        super().__init__()
        self.norms = nn.ModuleList(copy.deepcopy(norm) for _ in range(count))
        self._length = length

    def forward(self, x: Tensor) -> Tensor:
        """Normalise as for the length.

        A batch norm that does not learn is a scale and a shift per channel, and is written as these: engine libraries fold
        them into the convolution before as they load it, while exporters would fold them on disk, into a weight for every length.
        """
        norm = self.norms[self._length.position]
        if (
            isinstance(norm, nn.modules.batchnorm._BatchNorm)
            and not norm.training
            and norm.running_var is not None
        ):
            return _affine(norm, x)
        made: Tensor = norm(x)
        return made


def _affine(norm: Any, x: Tensor) -> Tensor:
    scale = (norm.running_var + norm.eps).rsqrt()
    shift = -norm.running_mean * scale
    if norm.affine:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    sides = (1, -1, *[1] * (x.ndim - 2))
    made: Tensor = x * scale.reshape(sides) + shift.reshape(sides)
    return made


class AlteredConv(nn.Module):
    """A convolution whose input channels are scaled by 1 + theta, with a theta for every clip length.

    That is x + theta * x before the convolution: a depthwise 1x1 convolution with a residual connection. Zero padding
    commutes with it, so the scale lies in the weight, and each length's engine is the plain network's.

    Args:
        conv: of any rank, with zero padding; its weight is shared.
        count: of lengths.
        length: that the network computes for.

    Source: FAN, section 4.3 (Weight Alteration).
    """

    def __init__(self, conv: nn.modules.conv._ConvNd, count: int, length: Length) -> None:
        super().__init__()
        self.conv = conv
        self.thetas = nn.ParameterList(
            nn.Parameter(torch.empty(conv.in_channels).normal_(0, 1e-3)) for _ in range(count)
        )
        self._length = length

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of the scaled channels."""
        conv: Any = self.conv  # its rank decides what `_conv_forward` is
        weight, theta = conv.weight, self.thetas[self._length.position]
        scale = (1 + theta).reshape(conv.groups, 1, -1)
        if conv.groups > 1:  # of every output, the inputs of its group; else all outputs see all inputs
            scale = scale.expand(-1, conv.out_channels // conv.groups, -1).reshape(weight.shape[:2])
        altered = weight * scale.reshape(-1, weight.shape[1], *[1] * (weight.ndim - 2))
        made: Tensor = conv._conv_forward(x, altered, conv.bias)
        return made


class Entrance(nn.Identity):
    """A place where all that comes in can be altered: the residual stream at a block's entrance.

    Args:
        channels: of what comes in, (n, channels, ...).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels


ALTERABLE = (nn.modules.conv._ConvNd, Entrance)
"""What can be altered."""


class AlteredStream(nn.Module):
    """A scale of every channel by 1 + theta, with a theta for every clip length, where no convolution can take it in.

    Args:
        entrance: where it stands.
        count: of lengths.
        length: that the network computes for.

    Source: FAN, section 4.3, for transformers.
    """

    def __init__(self, entrance: Entrance, count: int, length: Length) -> None:
        super().__init__()
        self.thetas = nn.ParameterList(
            nn.Parameter(torch.empty(entrance.channels).normal_(0, 1e-3)) for _ in range(count)
        )
        self._length = length

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, ...) -> the same."""
        theta = self.thetas[self._length.position]
        made: Tensor = x * (1 + theta).reshape(1, -1, *(1 for _ in x.shape[2:]))
        return made


def specialise(network: nn.Module, count: int, altered: Callable[[str], bool]) -> Length:
    """Give a network a normalisation and an alteration for every clip length, in place.

    Args:
        network: whose modules are replaced.
        count: of lengths.
        altered: whether the convolution or the `Entrance` of this name is altered.

    Returns:
        The length that the network computes for, to be set before it is called.
    """
    length = Length()
    made: dict[nn.Module, nn.Module] = {}  # a layer that is used in two places stays one
    for name, module in list(network.named_modules()):
        for child, part in list(module.named_children()):
            if part in made:
                setattr(module, child, made[part])
            elif isinstance(part, NORMS):
                made[part] = PerLength(part, count, length)
                setattr(module, child, made[part])
            elif isinstance(part, ALTERABLE) and altered(f"{name}.{child}".lstrip(".")):
                kind: Any = AlteredStream if isinstance(part, Entrance) else AlteredConv
                made[part] = kind(part, count, length)
                setattr(module, child, made[part])
    return length
