"""Other ways through the same network, with the same weights: only as long as it is unsure, and frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgeflow.flow import Axis, ConfidenceBelow, Flow, Image, KeyFrameInterval, Nearest
from edgeflow.ir.errors import FlowError
from edgeflow.ir.sampling import evenly
from edgeflow.ir.task import Made, Task
from edgeflow.models.fan.model import LENGTHS, FrameAdaptive

SURE = 0.8
"""Probability of the first label from which on no more frames are looked at."""
NEVER = 2**31
"""Frames, about two years: only a reset makes a first frame."""


class Cascade(FrameAdaptive):
    """Looks at a few frames first, and at more only if it is unsure.

    Args:
        network: see `FrameAdaptive`, as the others are.
        lengths: tried one after another.
        size: of frames.
        names: of the classes.
        altered: convolutions.
        sure: probability from which on a label is taken.
    """

    go_on = Axis(False, True)

    def __init__(
        self,
        network: nn.Module,
        *,
        lengths: Sequence[int] = LENGTHS,
        size: tuple[int, int],
        names: Sequence[str] | int,
        altered: Sequence[str] = (),
        sure: float = SURE,
    ) -> None:
        super().__init__(network, lengths=lengths, size=size, names=names, altered=altered)
        self.read, self.sure = Axis(max(lengths)), sure

    def flow(self, f: Flow, clip: Any) -> Any:
        """The shortest length, and the next as long as the last was unsure."""
        most = f.decide(read=Nearest(clip.shape[1]))
        shown = f.sample(clip, most.read)
        scores: Any = None
        more: Any = True
        for length in self.frames.values:
            scores = f.call(self.glance, shown, frames=length, when=more, otherwise=scores)
            if length != self.frames.values[-1]:
                more = more & f.route(scores, go_on=ConfidenceBelow(self.sure)).go_on
        return scores

    def glance(self, clip: Tensor, frames: int) -> Tensor:
        """Scores (n, classes) of so many of a clip's frames, (n, t, 3, h, w) in [0, 1]."""
        return self.classify(clip[:, evenly(clip.shape[1], frames)], frames)


class SlidingWindow(FrameAdaptive):
    """Takes frames one by one, and says of the last few what `FrameAdaptive` would say of them as a clip.

    What a network makes of a frame before it looks at others (its method `look`) is made once and kept; only the rest
    (`judge`) runs for every window. Where the window reaches beyond the film's beginning, the first frame stands in.

    Args:
        network: see `FrameAdaptive`; with `look`, (n, 3, h, w) -> (n, c, h', w'), and `judge`, (n * t, c, h', w'), t -> scores.
        lengths: whose sub-networks the weights have.
        size: of frames.
        names: of the classes.
        altered: convolutions.
        window: of the lengths the one that is used; the longest if not given.
        stride: frames from one window to the next; in between the last scores are repeated.

    Raises:
        FlowError: the network does not say what it makes of a frame alone, or has no such length.
    """

    begun = Axis("first", "later")
    due = Axis("now", "later")

    def __init__(
        self,
        network: nn.Module,
        *,
        lengths: Sequence[int] = LENGTHS,
        size: tuple[int, int],
        names: Sequence[str] | int,
        altered: Sequence[str] = (),
        window: int | None = None,
        stride: int = 1,
    ) -> None:
        if not (hasattr(network, "look") and hasattr(network, "judge")):
            raise FlowError(
                f"{type(network).__name__} has no methods `look` and `judge`, so nothing is known that windows share: "
                "give it both, or run it clip by clip"
            )
        super().__init__(network, lengths=lengths, size=size, names=names, altered=altered)
        self.window, self.stride = window or max(lengths), stride
        self.frames.index(self.window)
        self.inputs = (Image("frame", *size),)  # type: ignore[misc]
        assert self.task is not None
        self.task = Task((0,), (Made("labels", names=self.task.outputs[0].names),))

    def flow(self, f: Flow, frame: Any) -> Any:
        """What is made of the frame joins what was made of those before it."""
        made = f.call(self.look, frame)
        state = f.state(past=(self.window, *made.shape[1:]), said=(self.classes,))
        film = f.decide(begun=KeyFrameInterval(NEVER))
        past = f.switch(film.begun, first=(self.repeat, made), later=(self.append, state.past, made))
        f.keep(past=past)
        turn = f.decide(due=KeyFrameInterval(self.stride))
        scores = f.call(self.judge, past, when=turn.due == "now", otherwise=state.said)
        f.keep(said=scores)
        return scores

    def look(self, frame: Tensor) -> Tensor:
        """What no other frame changes: (n, 3, h, w) in [0, 1] -> (n, c, h', w')."""
        self._length.position = self.frames.index(self.window)
        network: Any = self.network
        made: Tensor = network.look(self.normalised(frame))
        return made

    def repeat(self, made: Tensor) -> Tensor:
        """A window of one frame: (n, c, h', w') -> (n, window, c, h', w')."""
        return made[:, None].expand(-1, self.window, -1, -1, -1)

    def append(self, past: Tensor, made: Tensor) -> Tensor:
        """The window a frame later."""
        return torch.cat([past[:, 1:], made[:, None]], 1)

    def judge(self, past: Tensor) -> Tensor:
        """Scores (n, classes) of a window (n, window, c, h', w')."""
        self._length.position = self.frames.index(self.window)
        network: Any = self.network
        made: Tensor = network.judge(past.flatten(0, 1), self.window)
        return made
