"""What a call of a model is made of, and what its outputs are and where they stand in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import floor
from typing import Any

from edgeflow.ir.errors import FlowError
from edgeflow.ir.interface import Clip, Image, Interface, Tensor

KINDS = ("image", "labels", "mask", "tensor")
"""What an output can be."""

CLIP_FRAMES = 16
"""Frames of a call whose clip has any length, unless the model's task says otherwise."""


@dataclass(frozen=True)
class Made:
    """What one output is.

    Attributes:
        kind: `image`, `labels` (a score for each), `mask` or `tensor`.
        time: where it stands, in frames: 0 is the call's frame 0, 0.5 halfway from there to the next.
        scale: height and width of a picture over those of the frames.
        names: of labels, in order; empty if they have none.
    """

    kind: str
    time: float = 0.0
    scale: float = 1.0
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise FlowError(f"an output is one of {', '.join(KINDS)}, not {self.kind!r}: mend the task")


@dataclass(frozen=True)
class Task:
    """What a call is made of, and what comes of it.

    Attributes:
        offsets: the frames of a call, counted from its frame 0: one for each image input, or those of its clip, in
            order. (0, 1) are two neighbours, (-1, 0, 1, 2) these and one more on either side. None where a model
            takes more than frames.
        outputs: one for each output of the model.
        stride: frames from one call's frame 0 to the next one's.
        clip: whether the frames come as one array.
        shorter: whether a scene's last call may have fewer frames; if not, its last frame is repeated.
        timed: whether its last input is the time, `Tensor(name, (1,))`, at which its pictures are wanted: 0 is the
            call's frame 0, 1 the next one. What `outputs` says is only where they mostly stand.
    """

    offsets: tuple[int, ...]
    outputs: tuple[Made, ...]
    stride: int = 1
    clip: bool = False
    shorter: bool = False
    timed: bool = False

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise FlowError(f"the stride of a task counts frames from 1 up, got {self.stride}: mend the task")

    @staticmethod
    def of_clip(frames: int, *outputs: Made, stride: int | None = None, shorter: bool = False) -> Task:
        """The task of a model that takes so many frames as one clip.

        Args:
            frames: of a call.
            outputs: one for each output of the model.
            stride: frames from one clip to the next; each begins where the last ended if not given.
            shorter: whether a scene's last clip may have fewer frames.
        """
        return Task(tuple(range(frames)), outputs, stride or frames, clip=True, shorter=shorter)

    @property
    def base(self) -> int:
        """The frame at or after which its first output stands."""
        return min((floor(made.time) for made in self.outputs), default=0)

    @property
    def between(self) -> bool:
        """Whether an output stands between two frames: there is none where either is missing."""
        return any(made.time != floor(made.time) for made in self.outputs)

    def frames_of(self, calls: int) -> int:
        """How many frames a film needs for so many calls of a whole window."""
        return max(self.offsets, default=0) - min(self.offsets, default=0) + 1 + (calls - 1) * self.stride

    def windowed(self, window: int | None, stride: int | None) -> Task:
        """The same task with another window, for models that take clips of any length, or another stride.

        Raises:
            FlowError: a window of another length than the model takes, or of less than a frame.
        """
        if window is not None and window != len(self.offsets) and not self.shorter:
            raise FlowError(
                f"a window of {window} frames: the model takes {len(self.offsets)}, no other number: leave the window out"
            )
        if min(window or 1, stride or 1) < 1:
            raise FlowError("windows and strides count frames from 1 up: give larger ones")
        offsets = self.offsets if window is None else tuple(range(window))
        follows = self.stride if window is None else window
        return replace(self, offsets=offsets, stride=stride or follows)

    def __str__(self) -> str:
        made = ", ".join(
            f"{each.kind}{f' x{each.scale:g}' if each.scale != 1 else ''} at {each.time:g}"
            for each in self.outputs
        )
        if not self.offsets:
            return f"more than frames -> {made}"
        read = (
            f"a clip of {len(self.offsets)} frames"
            if self.clip
            else f"frames {', '.join(map(str, self.offsets))}"
        )
        read += " and a time" if self.timed else ""
        return f"{read}{f', every {self.stride}' if self.stride != 1 else ''} -> {made}"

    def check(self, model: str, inputs: Sequence[Interface], outputs: Sequence[Interface]) -> None:
        """Compare it with what a model declares.

        Raises:
            FlowError: another number of frames or outputs, or an output of another kind.
        """
        clips = [spec for spec in inputs if isinstance(spec, Clip)]
        if self.clip != bool(clips) or len(clips) > 1 or (clips and len(inputs) > 1 + self.timed):
            raise FlowError(
                f"{model}: a task takes images, or one clip and nothing else: mend the task or the inputs"
            )
        if self.timed and not (inputs and isinstance(inputs[-1], Tensor) and inputs[-1].shape == (1,)):
            raise FlowError(
                f'{model}: a call at a time has it as its last input, Tensor("time", (1,)): mend the task or the inputs'
            )
        wanted = clips[0].frames if clips else len(inputs) - self.timed
        if self.offsets and isinstance(wanted, int) and len(self.offsets) != wanted:
            raise FlowError(
                f"{model} takes {wanted} frames a call, its task has {len(self.offsets)} offsets: give one for each"
            )
        if self.shorter and not (clips and isinstance(clips[0].frames, str)):
            raise FlowError(
                f"{model}: a call may be shorter only if its clip's length is free: mend the task"
            )
        if len(self.outputs) != len(outputs):
            raise FlowError(
                f"{model} declares {len(outputs)} outputs, its task {len(self.outputs)}: give one Made for each"
            )
        for made, spec in zip(self.outputs, outputs, strict=True):
            if (made.kind == "image") != isinstance(spec, Image):
                raise FlowError(
                    f"{model}: the output {spec.name} is declared a {type(spec).__name__}, and {made.kind} in its task: "
                    "let both agree"
                )


def default_task(inputs: Sequence[Interface], outputs: Sequence[Interface]) -> Task:
    """The task of a model that declares none.

    One image in is that frame, two are neighbours with the output halfway, more stand around their middle. Clips
    follow one another. A model that takes more than frames has no calls of a film.
    """
    kinds = ["image" if isinstance(spec, Image) else "tensor" for spec in outputs]
    if len(inputs) == 1 and isinstance(inputs[0], Clip):
        length = inputs[0].frames
        frames = length if isinstance(length, int) else CLIP_FRAMES
        return Task.of_clip(frames, *map(Made, kinds), shorter=isinstance(length, str))
    if not all(isinstance(spec, Image) for spec in inputs):
        return Task((), tuple(map(Made, kinds)), clip=any(isinstance(spec, Clip) for spec in inputs))
    middle = (len(inputs) - 1) / 2
    return Task(tuple(range(len(inputs))), tuple(Made(kind, middle) for kind in kinds))


def task_to_json(task: Task) -> dict[str, Any]:
    """A task as plain data."""
    return asdict(task)


def task_from_json(data: dict[str, Any]) -> Task:
    """Inverse of `task_to_json`."""
    made = tuple(Made(**{**each, "names": tuple(each["names"])}) for each in data["outputs"])
    return Task(tuple(data["offsets"]), made, data["stride"], data["clip"], data["shorter"], data["timed"])
