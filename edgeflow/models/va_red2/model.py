"""VA-RED2 models: the paper's networks, and one small enough to be trained in minutes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from edgeflow.flow import Clip, Tensor
from edgeflow.ir.task import Made, Task
from edgeflow.models.motions import MOTIONS, SIDE
from edgeflow.models.va_red2 import r2plus1d
from edgeflow.models.va_red2.network import Plain, Reduced
from edgeflow.models.va_red2.r2plus1d import R2Plus1D

KINETICS = tuple(f"class {number}" for number in range(200))
"""As many classes as Mini-Kinetics-200 has, which the paper measures on."""
STATIC = "static"
VARIANTS = {"two": 2, "three": 3, STATIC: 2}
"""Search spaces by name, and the network without any, to compare with."""


@dataclass(frozen=True)
class Preset:
    """A model's size.

    Attributes:
        network: builds it for a number of classes.
        dynamic: patterns of its dynamic layers.
        frames: of a clip.
        side: of the frames, in pixels.
        names: of the classes.
    """

    network: Callable[[int], nn.Module]
    dynamic: Sequence[str]
    frames: int
    side: int
    names: tuple[str, ...] = KINETICS


PRESETS = {
    "tiny": Preset(
        lambda classes: R2Plus1D((8, 16, 32), blocks=1, stem=8, classes=classes),
        r2plus1d.DYNAMIC,
        8,
        SIDE,
        MOTIONS,
    ),
    "r2plus1d": Preset(
        lambda classes: R2Plus1D((64, 128, 256, 512), blocks=2, stem=45, classes=classes),
        r2plus1d.DYNAMIC,
        8,
        128,
    ),
}
"""By name. R(2+1)D-18 at the paper's 8 frames of 128 pixels."""


def build(preset: str, variant: str = "two") -> Reduced | Plain:
    """An untrained model in eval mode.

    Args:
        preset: one of `PRESETS`.
        variant: its search space, `two` or `three`, or `static` for the network as it was.
    """
    size = PRESETS[preset]
    model = Reduced(
        size.network(len(size.names)),
        takes=Clip("clip", size.frames, size.side, size.side),
        makes=Tensor("scores", (len(size.names),)),
        task=Task.of_clip(size.frames, Made("labels", names=size.names)),
        dynamic=size.dynamic,
        space=VARIANTS[variant],
    )
    return Plain(model).eval() if variant == STATIC else model.eval()


def static(model: Reduced | Plain) -> Plain:
    """The network of a model as it was, with its weights."""
    return model if isinstance(model, Plain) else Plain(model)
