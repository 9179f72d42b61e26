"""FAN: one network for clips of any length, of which the length is the route."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn

from edgeflow.flow import Axis, Clip, Flow, Nearest, RoutedModule
from edgeflow.flow import Tensor as Scores
from edgeflow.ir.errors import FlowError
from edgeflow.ir.task import Made, Task
from edgeflow.models.fan.per_length import ALTERABLE, NORMS, Entrance, specialise

LENGTHS = (4, 8, 16)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and deviation of ImageNet's pixels, by which networks expect theirs normalised."""


class FrameAdaptive(RoutedModule):
    """Any recognition network as a frame-adaptive one: a clip takes the sub-network of the nearest length.

    Args:
        network: (n, t, 3, h, w), normalised -> (n, classes), for any t. Its weights are shared by all lengths.
        lengths: clip lengths that have a sub-network, ascending.
        size: (height, width) of frames.
        names: of the classes, in order, or how many there are if they have none.
        altered: names of the convolutions whose input channels are scaled for every length, or of `Entrance`s at which the
            residual stream is, as patterns (`blocks.*.convs.0`); none for none.

    Raises:
        FlowError: the network has no normalisation, so that nothing tells its lengths apart; or nothing is so named.

    Source: Frame Adaptive Network, section 4; a clip of n frames takes the nearest length, ties the longer (section 4.5).
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        lengths: Sequence[int] = LENGTHS,
        size: tuple[int, int],
        names: Sequence[str] | int,
        altered: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if list(lengths) != sorted(set(lengths)) or min(lengths, default=0) < 1:
            raise FlowError(f"clip lengths ascend from 1 up, got {tuple(lengths)}")
        if not any(isinstance(module, NORMS) for module in network.modules()):
            raise FlowError(
                f"{type(network).__name__} has no normalisation layer (BatchNorm, LayerNorm, GroupNorm): lengths would differ in nothing"
            )
        self._length = specialise(network, len(lengths), _matching(network, altered))
        self.network = network
        self.frames = Axis(*lengths)
        self.inputs = (Clip("clip", "frames", *size),)  # type: ignore[misc]
        self.classes, known = (names, ()) if isinstance(names, int) else (len(names), tuple(names))
        self.outputs = (Scores("scores", (self.classes,)),)  # type: ignore[misc]
        self.task = Task.of_clip(max(lengths), Made("labels", names=known), shorter=True)
        for name, numbers in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(numbers).reshape(3, 1, 1), persistent=False)

    def flow(self, f: Flow, clip: Any) -> Any:
        """As many of the clip's frames as the nearest length has, and that length's sub-network."""
        route = f.decide(frames=Nearest(clip.shape[1], ties="higher"))
        return f.call(self.classify, f.sample(clip, route.frames), frames=route.frames)

    def classify(self, clip: Tensor, frames: int) -> Tensor:
        """Scores (n, classes) of clips (n, t, 3, h, w) in [0, 1] by the sub-network of a length."""
        self._length.position = self.frames.index(frames)
        made: Tensor = self.network(self.normalised(clip))
        if made.shape[1] != self.classes:
            raise FlowError(
                f"{type(self.network).__name__} makes {made.shape[1]} scores, and there are {self.classes} labels: name as many"
            )
        return made

    def normalised(self, pictures: Tensor) -> Tensor:
        """Pictures (..., 3, h, w) in [0, 1] as networks expect them."""
        return (pictures - self.get_buffer("mean")) / self.get_buffer("deviation")


class Longest(RoutedModule):
    """The same network without routing: every clip has as many frames as the longest length.

    Args:
        model: whose longest length it is.
    """

    def __init__(self, model: FrameAdaptive) -> None:
        super().__init__()
        self.model = model
        longest = int(model.frames.values[-1])
        size = model.inputs[0].shape[-2:]
        self.inputs = (Clip("clip", longest, *size),)  # type: ignore[misc]
        self.outputs = model.outputs  # type: ignore[misc]
        assert model.task is not None
        self.task = Task.of_clip(longest, *model.task.outputs)
        self.frames_read = longest

    def flow(self, f: Flow, clip: Any) -> Any:
        """The longest length's sub-network."""
        return f.call(self.classify, clip)

    def classify(self, clip: Tensor) -> Tensor:
        """Scores (n, classes) of clips (n, t, 3, h, w) in [0, 1]."""
        return self.model.classify(clip, self.frames_read)


def _matching(network: nn.Module, patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a name matches one of the patterns, each of which must match a convolution or an entrance."""
    convs = [name for name, part in network.named_modules() if isinstance(part, ALTERABLE)]
    for pattern in patterns:
        found = [name for name in convs if fnmatch(name, pattern)]
        if not found:
            raise FlowError(
                f"no convolution is named {pattern!r}: the network has {', '.join(convs[:4])} ..."
            )
        for name in found:
            conv: Any = network.get_submodule(name)
            if not isinstance(conv, Entrance) and conv.padding_mode != "zeros":
                raise FlowError(
                    f"layer {name}: its padding is {conv.padding_mode!r}, and a scale folds through zeros alone: leave it out of altered="
                )
    return lambda name: any(fnmatch(name, pattern) for pattern in patterns)
