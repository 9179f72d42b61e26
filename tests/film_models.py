"""Small routed models of other tasks: four frames in and their middle out, a clip in and labels out, a larger picture."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from edgeflow.flow import Axis, Clip, Flow, Image, Made, Nearest, RoutedModule, Task, Tensor

NAMES = ("rest", "walk", "run")


class FourFrames(RoutedModule):
    """The picture halfway between the second and the third of four frames, deeper where a tile needs it."""

    inputs = tuple(Image(f"frame{i}") for i in range(4))
    outputs = (Image("middle"),)
    task = Task((-1, 0, 1, 2), (Made("image", time=0.5),))
    depth = Axis(1, 2)

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Conv2d(12, 2, 3, 2, 1)
        self.enter = nn.Conv2d(12, 4, 3, 1, 1)
        self.deepen = nn.Conv2d(4, 4, 3, 1, 1)
        self.leave = nn.Conv2d(4, 3, 3, 1, 1)

    def flow(self, f: Flow, *frames: Any) -> Any:
        scores = f.call(self.look, *frames)
        tiles = f.tile(*frames, size=32, halo=2)
        route = f.route(tiles, depth=scores)
        x = f.call(self.begin, tiles)
        x = f.call(self.deepen, x, when=route.depth == 2)
        return f.stitch(f.call(self.end, x, tiles[1], tiles[2]))

    def look(self, *frames: torch.Tensor) -> torch.Tensor:
        small = F.interpolate(torch.cat(frames, 1), size=(24, 24), mode="bilinear", align_corners=False)
        return self.see(small * 4 - 2)

    def begin(self, *tiles: torch.Tensor) -> torch.Tensor:
        return self.enter(torch.cat(tiles, 1))

    def end(self, x: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        return (before + after) / 2 + 0.05 * torch.tanh(self.leave(x))


class Labels(RoutedModule):
    """What a clip shows; its length picks how many of its frames are read."""

    inputs = (Clip("clip", "frames", 24, 32),)
    outputs = (Tensor("scores", (len(NAMES),)),)
    task = Task.of_clip(4, Made("labels", names=NAMES), shorter=True)
    read = Axis(2, 4)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.head = nn.Linear(8, len(NAMES))

    def flow(self, f: Flow, clip: Any) -> Any:
        route = f.decide(read=Nearest(clip.shape[1]))
        return f.call(self.classify, f.sample(clip, route.read), read=route.read)

    def classify(self, clip: torch.Tensor, read: int) -> torch.Tensor:
        features = torch.tanh(self.conv(clip.flatten(0, 1))).mean((2, 3)).reshape(-1, read, 8)
        return self.head(features.mean(1))


class WholeClip(RoutedModule):
    """What a clip of one length shows."""

    inputs = (Clip("clip", 3, 24, 32),)
    outputs = (Tensor("scores", (len(NAMES),)),)
    task = Task.of_clip(3, Made("labels"), stride=2)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 8, 3, (1, 2, 2), 1)
        self.head = nn.Linear(8, len(NAMES))

    def flow(self, f: Flow, clip: Any) -> Any:
        return f.call(self.classify, clip)

    def classify(self, clip: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.conv(clip.transpose(1, 2))).mean((2, 3, 4)))


class Larger(RoutedModule):
    """A picture twice as large as the frame, sharpened where a tile needs it."""

    inputs = (Image("frame", 32, 48),)
    outputs = (Image("picture", 64, 96),)
    task = Task((0,), (Made("image", scale=2),))
    sharp = Axis(False, True)

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Conv2d(3, 2, 3, 2, 1)
        self.enter = nn.Conv2d(3, 3, 1)
        self.up = nn.Conv2d(3, 12, 3, 1, 1)
        self.sharpen = nn.Conv2d(3, 3, 3, 1, 1)

    def flow(self, f: Flow, frame: Any) -> Any:
        scores = f.call(self.see, frame)
        tiles = f.tile(frame, size=16, halo=2)
        route = f.route(tiles, sharp=scores)
        x = f.call(self.sharpen, f.call(self.enter, tiles), when=route.sharp)
        return f.stitch(f.call(self.enlarge, x))

    def enlarge(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(F.pixel_shuffle(self.up(x), 2))


class AnyTime(RoutedModule):
    """The picture at any time between two frames, deeper where a tile needs it."""

    inputs = (Image("frame0"), Image("frame1"), Tensor("time", (1,)))
    outputs = (Image("picture"),)
    task = Task((0, 1), (Made("image", time=0.5),), timed=True)
    depth = Axis(1, 2)

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Conv2d(6, 2, 3, 2, 1)
        self.correct = nn.Conv2d(6, 3, 3, 1, 1)

    def flow(self, f: Flow, frame0: Any, frame1: Any, time: Any) -> Any:
        scores = f.call(self.look, frame0, frame1)
        tiles = f.tile(frame0, frame1, time, size=32, halo=2)
        route = f.route(tiles, depth=scores)
        x = f.call(self.blend, *tiles)
        x = f.call(self.mend, x, tiles[0], tiles[1], when=route.depth == 2)
        return f.stitch(x)

    def look(self, frame0: torch.Tensor, frame1: torch.Tensor) -> torch.Tensor:
        small = F.interpolate(
            torch.cat((frame0, frame1), 1), size=(24, 24), mode="bilinear", align_corners=False
        )
        return self.see(small * 4 - 2)

    def blend(self, before: torch.Tensor, after: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return before + (after - before) * time.reshape(-1, 1, 1, 1)

    def mend(self, x: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        return x + 0.05 * torch.tanh(self.correct(torch.cat((before, after), 1)))


def _built(kind: type[RoutedModule]) -> RoutedModule:
    torch.manual_seed(3)
    return kind().eval()


def four_frames() -> RoutedModule:
    return _built(FourFrames)


def labels() -> RoutedModule:
    return _built(Labels)


def whole_clip() -> RoutedModule:
    return _built(WholeClip)


def larger() -> RoutedModule:
    return _built(Larger)


def any_time() -> RoutedModule:
    return _built(AnyTime)
