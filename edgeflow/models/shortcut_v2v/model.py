"""Shortcut-V2V as a routed module: any generator, cut in three, with a Shortcut block beside its middle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from edgeflow.flow import Axis, Flow, Image, KeyFrameInterval, RoutedModule
from edgeflow.ir.errors import FlowError
from edgeflow.models.shortcut_v2v.block import ShortcutBlock
from edgeflow.models.shortcut_v2v.cut import cut
from edgeflow.models.shortcut_v2v.teachers import edges_to_frame, frame_to_frame, resnet_generator

THINNED = 4
"""Drift is measured on every fourth row and column."""


class ShortcutV2V(RoutedModule):
    """Translates a video frame by frame; between key frames a small block stands in for most of the work.

    Args:
        generator: the teacher, from a frame (n, 3, h, w) in [0, 1] to a picture like it; calls its
            modules one after another, and is cut at two of them (see `cut`).
        encoder_cut: name of the module whose output, a, every frame computes.
        decoder_cut: name of the module whose output, f, only key frames compute.
        channels: of the Shortcut block, a multiple of 4.
        interval: frames from one key frame to the next.

    Raises:
        FlowError: the generator cannot be cut there.

    Source: Shortcut-V2V, Algorithm 1.
    """

    inputs = (Image("frame"),)
    outputs = (Image("picture"),)
    mode = Axis("key", "shortcut")

    def __init__(
        self, generator: nn.Module, encoder_cut: str, decoder_cut: str, channels: int, interval: int = 3
    ) -> None:
        super().__init__()
        parts = cut(generator, encoder_cut, decoder_cut)
        self.encode, self.middle, self.decode = parts.encode, parts.middle, parts.decode
        self.block = ShortcutBlock(parts.encoded, parts.decoded, channels)
        self.decoded, self.interval = parts.decoded, interval

    def flow(self, f: Flow, frame: Any) -> Any:
        """Shortcut-V2V, Algorithm 1; how far a drifted from the key frame's is there for other rules."""
        a = f.call(self.encode, frame)
        encoded, height, width = a.shape[1:]
        state = f.state(a_ref=(encoded, height, width), f_ref=(self.decoded, height, width))
        drift = f.call(self.drift, a, state.a_ref)
        route = f.decide(drift, mode=KeyFrameInterval(self.interval))
        feature = f.switch(
            route.mode,
            key=(self.middle, a),
            shortcut=[(self.block.align, a, state.a_ref, state.f_ref), self.block.blend, self.block.expand],
        )
        picture = f.call(self.decode, feature)
        f.keep(a_ref=a, f_ref=feature, when=route.mode == "key")
        return picture

    def drift(self, a: torch.Tensor, a_ref: torch.Tensor) -> torch.Tensor:
        """How far a feature is from the key frame's, relative to that: (n, c, h, w) twice -> (n, 1)."""
        a, a_ref = (x[..., ::THINNED, ::THINNED] for x in (a, a_ref))
        moved, size = ((x.abs().mean((1, 2, 3)).unsqueeze(1)) for x in (a - a_ref, a_ref))
        return moved / (size + 1e-6)


class Teacher(RoutedModule):
    """The full static model that savings are measured against: the generator on every frame.

    Args:
        model: the routed model whose generator it runs.
    """

    inputs = (Image("frame"),)
    outputs = (Image("picture"),)

    def __init__(self, model: ShortcutV2V) -> None:
        super().__init__()
        self.generator = nn.Sequential(model.encode, model.middle, model.decode)
        self.size = model.size

    def flow(self, f: Flow, frame: Any) -> Any:
        """One call."""
        return f.call(self.generator, frame)


@dataclass(frozen=True)
class Dependence:
    """Where a teacher is cut, by how much of it a shortcut frame runs.

    Attributes:
        encoder_cut: name of the module whose output is a.
        decoder_cut: name of the module whose output is f.
        channels: of the Shortcut block.
    """

    encoder_cut: str
    decoder_cut: str
    channels: int


@dataclass(frozen=True)
class Preset:
    """A teacher, and how it is cut.

    Attributes:
        generator: makes the teacher.
        dependences: by name.
        interval: frames from one key frame to the next.
        size: (height, width) of the frames it is meant for.
    """

    generator: Callable[[], nn.Module]
    dependences: dict[str, Dependence]
    interval: int
    size: tuple[int, int]


CUTS = {
    "low": Dependence("1", "19", 64),
    "medium": Dependence("4", "16", 64),
    "high": Dependence("7", "15", 64),
}
"""Channels of the paper's teacher."""

PRESETS = {
    "full": Preset(lambda: frame_to_frame(resnet_generator()), CUTS, 3, (256, 512)),
    "tiny": Preset(
        lambda: edges_to_frame(resnet_generator(16, channels=1)),
        # Its transposed convolutions leave a checkerboard in f, which no aligned feature can follow: all but `low`
        # cut before them.
        {
            "low": Dependence("4", "16", 16),
            "medium": Dependence("7", "15", 32),
            "high": Dependence("7", "12", 32),
        },
        6,
        (192, 320),
    ),
}
"""`full` is Unsupervised RecycleGAN on Viper to Cityscapes; `tiny` paints frames from their edges."""


def build(preset: str = "tiny", variant: str = "medium") -> ShortcutV2V:
    """An untrained Shortcut-V2V in eval mode.

    Args:
        preset: `full` or `tiny`.
        variant: dependence on the teacher: `low`, `medium` or `high`.

    Raises:
        FlowError: no such preset or variant.
    """
    if preset not in PRESETS:
        raise FlowError(f"Shortcut-V2V has the presets {', '.join(PRESETS)}, got {preset!r}")
    made = PRESETS[preset]
    if variant not in made.dependences:
        raise FlowError(f"Shortcut-V2V has the variants {', '.join(made.dependences)}, got {variant!r}")
    cut_at = made.dependences[variant]
    model = ShortcutV2V(
        made.generator(), cut_at.encoder_cut, cut_at.decoder_cut, cut_at.channels, made.interval
    )
    model.size = made.size
    return model.eval()
