"""ST-MFNet as flows: one network alone, and a pair of which the smaller one does what it can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from edgeflow.flow import Axis, Flow, Image, RoutedModule
from edgeflow.ir.errors import FlowError
from edgeflow.ir.task import Made, Task
from edgeflow.models.st_mfnet.kernels import FRAMES
from edgeflow.models.st_mfnet.network import Sizes, STMFNet
from edgeflow.models.st_mfnet.router import Difficulty
from edgeflow.ops.adacof import AdaCoF

VARIANTS = ("alone", "frame", "tile")
"""One network, or a pair of which one is chosen for every frame or for every tile."""


@dataclass(frozen=True)
class Preset:
    """A network and what goes with it.

    Attributes:
        sizes: its widths.
        mini: the preset of the smaller network of its pair; None if it is one itself.
        size: (height, width) of the frames that it is compiled for unless its exporter says otherwise.
        tile: side of a tile of the pair, in pixels, a multiple of the networks'.
        halo: pixels of a tile beyond its patch at every seam.
    """

    sizes: Sizes
    mini: str | None = None
    size: tuple[int, int] = (256, 448)
    tile: int = 256
    halo: int = 32


PRESETS = {
    "full": Preset(Sizes((64, 128, 256, 512), 64, (32, 64, 96), (32, 64, 96, 128), 32, flow={}), mini="mini"),
    "mini": Preset(Sizes((32, 64, 96, 128), 30, (16, 32, 46), (16, 24, 32, 40), 8)),
    "tiny": Preset(
        Sizes(
            (16, 24, 32, 32),
            12,
            (8, 16, 24),
            (8, 8, 12, 16),
            8,
            flow={
                "channels": (8, 16, 24, 32, 48),
                "finest": 3,
                "widths": (32, 32, 24, 16, 8),
                "refiner": (32, 32, 24, 16, 16, 8),
                "radius": 3,
            },
            groups=8,
            side=3,
            multiple=32,
            residual=True,
        ),
        mini="tiny-mini",
        tile=128,
        halo=16,
    ),
    "tiny-mini": Preset(
        Sizes((8, 12, 16, 16), 6, (4, 8, 12), (4, 4, 6, 8), 4, None, 4, 3, 32, residual=True, changes=True),
        tile=128,
        halo=16,
    ),
}
"""`full` and `mini` are the papers'; `tiny` can be trained on a CPU, and `tiny-mini` is half as wide, without the flow."""


class Interpolator(RoutedModule):
    """Makes the frame between the second and the third of four.

    Args:
        preset: of the network.
    """

    inputs = tuple(Image(f"frame{i}") for i in range(4))
    outputs = (Image("middle"),)
    judged_in_tiles = True
    task = Task((-1, 0, 1, 2), (Made("image", time=0.5),))

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset
        self.size = preset.size
        self.network = STMFNet(preset.sizes)
        self.adacof = AdaCoF()

    def flow(self, f: Flow, *frames: Any) -> Any:
        """All of the frame."""
        return self.interpolate(f, *frames)

    def interpolate(self, f: Flow, *frames: Any, **quality: Any) -> Any:
        """The calls on frames or tiles.

        AdaCoF's are calls of their own, so that its kernel can take them; of what the samples of one frame are made is let go of before the
        other's, since that is most of what is in memory.
        """
        _, frame1, frame2, _ = frames
        features = f.call(self.see, frame1, frame2, **quality)
        images = f.call(self.network.pictures, frame1, frame2)
        warped = list(images)
        for place, frame in enumerate(FRAMES):
            kernels = f.call(self.kernels, features, frame=frame, **quality)
            for i, image in enumerate(images[place::2]):
                warped[2 * i + place] = f.call(self.adacof, image, *kernels[3 * i : 3 * i + 3])
        blended = f.call(self.blend, frame1, frame2, *warped, **quality)
        return f.call(self.finish, *frames, blended, **quality)

    def see(self, frame1: Tensor, frame2: Tensor, quality: str = "full") -> Tensor:
        """See `STMFNet.see`."""
        return self.of(quality).see(frame1, frame2)

    def kernels(self, features: Tensor, frame: str, quality: str = "full") -> tuple[Tensor, ...]:
        """See `Kernels.forward`."""
        made: tuple[Tensor, ...] = self.of(quality).kernels(features, frame)
        return made

    def blend(self, frame1: Tensor, frame2: Tensor, *warped: Tensor, quality: str = "full") -> Tensor:
        """See `STMFNet.blend`."""
        return self.of(quality).blend(frame1, frame2, *warped)

    def finish(self, *pictures: Tensor, quality: str = "full") -> Tensor:
        """See `STMFNet.finish`."""
        return self.of(quality).finish(*pictures)

    def of(self, quality: str) -> STMFNet:
        """The network of a quality; there is one."""
        return self.network


class Pair(Interpolator):
    """Two networks, of which one is chosen for every frame, or for every tile.

    Args:
        preset: of the larger network.
        mini: of the smaller one.
        tiles: whether every tile chooses.

    Raises:
        FlowError: their kernels or paddings differ, so that they would not share AdaCoF's calls.
    """

    quality = Axis("mini", "full")

    def __init__(self, preset: Preset, mini: Preset, tiles: bool) -> None:
        super().__init__(preset)
        larger, smaller = preset.sizes, mini.sizes
        if (larger.side, larger.multiple) != (smaller.side, smaller.multiple):
            raise FlowError("the networks of a pair have kernels of one size and paddings to one multiple")
        self.mini = STMFNet(smaller)
        self.difficulty = Difficulty()
        self.tiles = tiles

    def flow(self, f: Flow, *frames: Any) -> Any:
        """Decide, then interpolate by the network that was chosen."""
        scores = f.call(self.score, *frames[1:3])
        if not self.tiles:
            chosen = f.route(scores, quality=scores)
            return self.interpolate(f, *frames, quality=chosen.quality)
        tiles = f.tile(
            *frames, size=self.preset.tile, halo=self.preset.halo, multiple=self.preset.sizes.multiple // 4
        )
        chosen = f.route(tiles, quality=scores)
        return f.stitch(self.interpolate(f, *tiles, quality=chosen.quality))

    def score(self, frame1: Tensor, frame2: Tensor) -> Tensor:
        """Logits of mini and full: a map over the frame for tiles, (n, 2) for frames."""
        logits: Tensor = self.difficulty(frame1, frame2)
        return logits if self.tiles else logits.mean((2, 3))

    def of(self, quality: str) -> STMFNet:
        """The network of a quality."""
        return self.network if quality == "full" else self.mini


def build(preset: str = "tiny", variant: str = "alone") -> Interpolator:
    """An untrained model in eval mode.

    Raises:
        FlowError: no such preset or variant, or a pair of a preset that has no smaller one.
    """
    if preset not in PRESETS or variant not in VARIANTS:
        raise FlowError(
            f"ST-MFNet has the presets {', '.join(PRESETS)} and the variants {', '.join(VARIANTS)}, got {preset!r} and {variant!r}"
        )
    own = PRESETS[preset]
    if variant == "alone":
        return Interpolator(own).eval()
    if own.mini is None:
        pairs = [name for name, each in PRESETS.items() if each.mini]
        raise FlowError(f"{preset} is the smaller network of a pair: {' and '.join(pairs)} have one")
    return Pair(own, PRESETS[own.mini], variant == "tile").eval()


def full_static(model: Interpolator) -> Interpolator:
    """The larger network of a pair, for every frame: what savings are measured against."""
    static = Interpolator(model.preset)
    static.network = model.network
    return static.eval()


def networks(model: nn.Module) -> list[STMFNet]:
    """The networks in a model, the larger first."""
    return [module for module in model.modules() if isinstance(module, STMFNet)]
