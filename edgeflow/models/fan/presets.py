"""FAN in several sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from edgeflow.models.fan.model import LENGTHS, FrameAdaptive
from edgeflow.models.fan.resnet import DEPTHS, TSM
from edgeflow.models.fan.slowfast import Depth as Paths
from edgeflow.models.fan.slowfast import SlowFast
from edgeflow.models.fan.tea import TEA
from edgeflow.models.fan.uniformer import Depth as Stages
from edgeflow.models.fan.uniformer import UniFormer
from edgeflow.models.fan.ways import Cascade, SlidingWindow
from edgeflow.models.motions import MOTIONS, SIDE

SOMETHING = 174
"""Classes of Something-Something, with which the paper's networks are measured."""
WAYS: dict[str, type[FrameAdaptive]] = {"cascade": Cascade, "stream": SlidingWindow}
"""Other ways through the network of all lengths."""
ALONE = {"4": (4,), "8": (8,), "16": (16,)}
"""Plain networks of one length, trained apart."""
VARIANTS = ("all", *WAYS, *ALONE)
PACKAGED = Path(__file__).parent / "pretrained"


@dataclass(frozen=True)
class Preset:
    """A size of FAN.

    Attributes:
        network: of so many classes.
        altered: see `FrameAdaptive`.
        size: (height, width) of frames.
        names: of the classes, or how many there are.
        lengths: of clips.
    """

    network: Callable[[int], nn.Module]
    altered: tuple[str, ...] = ("blocks.*.convs.0",)
    size: tuple[int, int] = (224, 224)
    names: Sequence[str] | int = SOMETHING
    lengths: tuple[int, ...] = LENGTHS

    @property
    def classes(self) -> int:
        """How many there are."""
        return self.names if isinstance(self.names, int) else len(self.names)


PRESETS = {
    "tiny": Preset(lambda n: TSM(DEPTHS["tiny"], n, dropout=0.1), size=(SIDE, SIDE), names=MOTIONS),
    "tsm-r18": Preset(lambda n: TSM(DEPTHS["r18"], n)),
    "tsm-r50": Preset(lambda n: TSM(DEPTHS["r50"], n)),
    "tsm-r101": Preset(lambda n: TSM(DEPTHS["r101"], n)),
    "tea": Preset(
        TEA, altered=()
    ),  # the paper's TEA has norms of its own for every length, and no alteration
    "slowfast": Preset(
        lambda n: SlowFast(Paths(), n),
        ("slow.*.convs.0", "fast.*.convs.0"),
        size=(256, 256),
        lengths=(16, 32, 64),  # of which its slow path sees a quarter
    ),
    "uniformer-s": Preset(
        lambda n: UniFormer(Stages(), n), ("stages.0.*.0", "stages.1.*.0", "stages.*.entrance")
    ),
}


def build(preset: str = "tiny", variant: str = "all") -> FrameAdaptive:
    """An untrained model in eval mode, of a preset and for the clip lengths of a variant."""
    own = PRESETS[preset]
    lengths = ALONE.get(variant, own.lengths)
    altered = own.altered if len(lengths) > 1 else ()  # one length alone is the plain network
    kind = WAYS.get(variant, FrameAdaptive)
    return kind(
        own.network(own.classes), lengths=lengths, size=own.size, names=own.names, altered=altered
    ).eval()


def pretrained(preset: str, variant: str = "all") -> Path | None:
    """The weights of a preset and variant that come with edgeflow, or None. All ways through a network share its weights."""
    path = PACKAGED / f"{preset}-{'all' if variant in WAYS else variant}.safetensors"
    return path if path.exists() else None
