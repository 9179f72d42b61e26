"""VA-RED2 models: the paper's networks, and one small enough to be trained in minutes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from edgeflow.flow import Clip, Image, Tensor
from edgeflow.ir.task import Made, Task
from edgeflow.models.motions import MOTIONS, SIDE
from edgeflow.models.va_red2 import pspnet, r2plus1d, x3d
from edgeflow.models.va_red2.network import Plain, Reduced
from edgeflow.models.va_red2.pspnet import PSPNet
from edgeflow.models.va_red2.r2plus1d import R2Plus1D
from edgeflow.models.va_red2.x3d import X3D

KINETICS = tuple(f"class {number}" for number in range(200))
"""As many classes as Mini-Kinetics-200 has, which the paper measures on."""
ADE20K = tuple(f"class {number}" for number in range(150))
"""As many classes as ADE20K's scenes have, with which the paper measures PSPNet."""
STATIC = "static"
VARIANTS = {"two": 2, "three": 3, STATIC: 2}
"""Search spaces by name, and the network without any, to compare with."""


@dataclass(frozen=True)
class Preset:
    """A model's size.

    Attributes:
        network: builds it for a number of classes.
        dynamic: patterns of its dynamic layers.
        frames: of a clip; none for a picture, of which every eighth pixel gets scores of classes.
        side: of the frames, in pixels.
        names: of the classes.
    """

    network: Callable[[int], nn.Module]
    dynamic: Sequence[str]
    frames: int | None
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
    "x3d-m": Preset(X3D, x3d.DYNAMIC, 16, 256),
    "pspnet": Preset(PSPNet, pspnet.DYNAMIC, None, 224, ADE20K),
}
"""By name. Sizes are the paper's, but for PSPNet's, of which it gives none: at 224 pixels its encoder costs what it says."""


def build(preset: str, variant: str = "two") -> Reduced | Plain:
    """An untrained model in eval mode.

    Args:
        preset: one of `PRESETS`.
        variant: its search space, `two` or `three`, or `static` for the network as it was.
    """
    size = PRESETS[preset]
    takes, makes, task = _interface(size)
    model = Reduced(
        size.network(len(size.names)),
        takes=takes,
        makes=makes,
        task=task,
        dynamic=size.dynamic,
        space=VARIANTS[variant],
    )
    return Plain(model).eval() if variant == STATIC else model.eval()


def _interface(size: Preset) -> tuple[Clip | Image, Tensor, Task]:
    """What a preset takes and makes."""
    side, count = size.side, len(size.names)
    if size.frames is None:
        small = side // 8
        task = Task((0,), (Made("mask", names=size.names),))
        return Image("frame", side, side), Tensor("classes", (count, small, small)), task
    task = Task.of_clip(size.frames, Made("labels", names=size.names))
    return Clip("clip", size.frames, side, side), Tensor("scores", (count,)), task


def static(model: Reduced | Plain) -> Plain:
    """The network of a model as it was, with its weights."""
    return model if isinstance(model, Plain) else Plain(model)
