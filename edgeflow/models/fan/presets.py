"""FAN in several sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from edgeflow.models.fan.model import LENGTHS, FrameAdaptive
from edgeflow.models.fan.resnet import DEPTHS, TSM
from edgeflow.models.motions import MOTIONS, SIDE

SOMETHING = 174
"""Classes of Something-Something, with which the paper's networks are measured."""
VARIANTS = {"all": LENGTHS, "4": (4,), "8": (8,), "16": (16,)}
"""Clip lengths that have a sub-network: the paper's, or one, which is the plain network trained for it."""
PACKAGED = Path(__file__).parent / "pretrained"


@dataclass(frozen=True)
class Preset:
    """A size of FAN.

    Attributes:
        network: of so many classes.
        altered: see `FrameAdaptive`.
        size: (height, width) of frames.
        names: of the classes, or how many there are.
    """

    network: Callable[[int], nn.Module]
    altered: tuple[str, ...] = ("blocks.*.convs.0",)
    size: tuple[int, int] = (224, 224)
    names: Sequence[str] | int = SOMETHING

    @property
    def classes(self) -> int:
        """How many there are."""
        return self.names if isinstance(self.names, int) else len(self.names)


PRESETS = {
    "tiny": Preset(lambda n: TSM(DEPTHS["tiny"], n, dropout=0.1), size=(SIDE, SIDE), names=MOTIONS),
    "tsm-r18": Preset(lambda n: TSM(DEPTHS["r18"], n)),
    "tsm-r50": Preset(lambda n: TSM(DEPTHS["r50"], n)),
    "tsm-r101": Preset(lambda n: TSM(DEPTHS["r101"], n)),
}


def build(preset: str = "tiny", variant: str = "all") -> FrameAdaptive:
    """An untrained model in eval mode, of a preset and for the clip lengths of a variant."""
    own = PRESETS[preset]
    network = own.network(own.classes)
    # One length alone is the plain network.
    altered = own.altered if len(VARIANTS[variant]) > 1 else ()
    return FrameAdaptive(
        network, lengths=VARIANTS[variant], size=own.size, names=own.names, altered=altered
    ).eval()


def pretrained(preset: str, variant: str = "all") -> Path | None:
    """The weights of a preset and variant that come with edgeflow, or None."""
    path = PACKAGED / f"{preset}-{variant}.safetensors"
    return path if path.exists() else None
