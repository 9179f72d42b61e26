"""Small routed models, one per way of routing, for tests of every interpreter and of the compiler."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from edgeflow.flow import Axis, FirstNonZero, Flow, Image, KeyFrameInterval, Nearest, RoutedModule, Tensor
from edgeflow.flow.flow import Scored


class Shortcut(RoutedModule):
    """A key frame now and then; the frames between reuse its feature (state, keep, switch, decide)."""

    inputs = (Image("frame", 16, 24),)
    outputs = (Image("picture", 16, 24),)
    mode = Axis("key", "shortcut")

    def __init__(self, interval: int = 3) -> None:
        super().__init__()
        self.interval = interval
        self.encode = nn.Conv2d(3, 4, 3, 2, 1)
        self.middle = nn.Sequential(nn.Conv2d(4, 8, 3, 1, 1), nn.Tanh(), nn.Conv2d(8, 4, 3, 1, 1))
        self.adapt = nn.Conv2d(4, 4, 1)
        self.up = nn.Conv2d(4, 12, 3, 1, 1)

    def flow(self, f: Flow, frame: Any) -> Any:
        state = f.state(a_ref=(4, 8, 12), f_ref=(4, 8, 12))
        route = f.decide(mode=KeyFrameInterval(self.interval))
        a = f.call(self.encode, frame)
        feature = f.switch(
            route.mode, key=(self.middle, a), shortcut=(self.shortcut, state.f_ref, state.a_ref, a)
        )
        f.keep(a_ref=a, f_ref=feature, when=route.mode == "key")
        return f.call(self.decode, feature)

    def shortcut(self, feature: torch.Tensor, reference: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
        return feature + self.adapt(now - reference)

    def decode(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(F.pixel_shuffle(self.up(x), 2))


class Frames(RoutedModule):
    """A clip's length picks how many of its frames are read (sample, Nearest)."""

    inputs = (Tensor("clip", ("time", 3, 6, 6)),)
    outputs = (Tensor("scores", (5,)),)
    frames = Axis(4, 8, 16)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(8, 5)

    def flow(self, f: Flow, clip: Any) -> Any:
        route = f.decide(frames=Nearest(clip.shape[1], ties="higher"))
        return f.call(self.classify, f.sample(clip, route.frames), frames=route.frames)

    def classify(self, clip: torch.Tensor, frames: int) -> torch.Tensor:
        features = torch.tanh(self.conv(clip.flatten(0, 1))).mean((2, 3)).reshape(-1, frames, 8)
        weights = torch.linspace(0.5, 1.5, frames).reshape(1, frames, 1)
        return self.head((features * weights).mean(1))


class GatedBlock(nn.Module):
    """A layer at full or half resolution, with all or half its channels; the gates scale its output."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1)
        self.to_stride = nn.Linear(channels, 2)
        self.to_channels = nn.Linear(channels, 2)

    def gate(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        pooled = x.mean((2, 3))
        return {
            "stride": F.relu(torch.tanh(self.to_stride(pooled))),
            "channels": F.relu(torch.tanh(self.to_channels(pooled))),
        }

    def body(
        self, x: torch.Tensor, strides: torch.Tensor, widths: torch.Tensor, stride: int, channels: float
    ) -> torch.Tensor:
        strength = strides[:, 2 - stride] * widths[:, 0 if channels == 0.5 else 1]
        count = int(x.shape[1] * channels)
        y = F.conv2d(x, self.conv.weight[:count], self.conv.bias[:count], stride=stride, padding=1)
        y = F.interpolate(y, scale_factor=float(stride), mode="nearest") if stride > 1 else y
        y = F.pad(y, (0, 0, 0, 0, 0, x.shape[1] - count))
        return x + y * strength.reshape(-1, 1, 1, 1)


class Gated(RoutedModule):
    """A decision before every layer; the gates' values go into the layer (route again, FirstNonZero)."""

    inputs = (Image("frame", 12, 12),)
    outputs = (Tensor("scores", (5,)),)
    stride = Axis(2, 1)
    channels = Axis(0.5, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 1, 1)
        self.blocks = nn.ModuleList(GatedBlock(8) for _ in range(2))
        self.head = nn.Linear(8, 5)

    def flow(self, f: Flow, frame: Any) -> Any:
        x = f.call(self.stem, frame)
        for block in self.blocks:
            gates = f.call(block.gate, x)
            rules = {name: Scored(FirstNonZero(), scores) for name, scores in gates.items()}
            route = f.route(x, **rules)
            x = f.call(
                block.body,
                x,
                gates["stride"],
                gates["channels"],
                stride=route.stride,
                channels=route.channels,
            )
        return f.call(self.classify, x)

    def classify(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.mean((2, 3)))


class Patchwork(RoutedModule):
    """Two decisions per tile, each from a map over the frame, with work between them."""

    inputs = (Image("frame"),)
    outputs = (Image("picture"),)
    level = Axis(1, 2, 3)
    sharp = Axis(False, True)

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Conv2d(3, 5, 3, 2, 1)
        self.enter = nn.Conv2d(3, 4, 3, 1, 1)
        self.steps = nn.ModuleList(nn.Conv2d(4, 4, 3, 1, 1) for _ in range(2))
        self.sharpen = nn.Conv2d(4, 4, 3, 1, 1)
        self.leave = nn.Conv2d(4, 3, 3, 1, 1)

    def flow(self, f: Flow, frame: Any) -> Any:
        levels, sharps = f.call(self.look, frame)
        tiles = f.tile(frame, size=16, halo=2)
        route = f.route(tiles, level=levels)
        x = f.call(self.enter, tiles)
        for depth, step in enumerate(self.steps, start=2):
            x = f.call(step, x, when=route.level >= depth)
        second = f.route(tiles, sharp=sharps)
        x = f.call(self.sharpen, x, when=second.sharp)
        return f.stitch(f.call(self.finish, x))

    def look(self, frame: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        small = F.interpolate(frame, size=(24, 24), mode="bicubic", align_corners=False)
        return tuple(self.see(small * 4 - 2).split((3, 2), 1))

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.leave(x))


class Levels(RoutedModule):
    """Two of three levels are one function: their graphs are one and the same."""

    inputs = (Image("frame"),)
    outputs = (Image("picture"),)
    level = Axis(1, 2, 3)

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Conv2d(3, 3, 3, 2, 1)
        self.paint = nn.Conv2d(3, 3, 3, 1, 1)

    def flow(self, f: Flow, frame: Any) -> Any:
        scores = f.call(self.look, frame)
        tiles = f.tile(frame, size=16, halo=2)
        route = f.route(tiles, level=scores)
        return f.stitch(f.call(self.draw, tiles, level=route.level))

    def look(self, frame: torch.Tensor) -> torch.Tensor:
        return self.see(F.interpolate(frame, size=(24, 24), mode="bilinear") * 4 - 2)

    def draw(self, tiles: torch.Tensor, level: int) -> torch.Tensor:
        painted = self.paint(tiles) if level > 1 else tiles * 0.5
        return torch.sigmoid(painted)


SMALL = {model.__name__: model for model in (Shortcut, Frames, Gated, Patchwork, Levels)}


def small(name: str, seed: int = 0) -> RoutedModule:
    """One of the models above in eval mode, its weights large enough for its decisions to differ."""
    torch.manual_seed(seed)
    model = SMALL[name]().eval()
    for parameter in model.parameters():
        parameter.data.mul_(2)
    return model
