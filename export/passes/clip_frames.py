"""Clips as their frames: a 3D convolution as sums of 2D ones, one for each frame and each time that its filter sees.

ONNX Runtime unrolls all that a filter over time and pixels sees, 27 numbers for each of a 3x3x3 filter: 247 MB for 64 channels of five frames of
112x64. It lays pictures out in blocks of channels instead, adds the sums as it goes, and what is beyond a clip's ends takes no time: two layers of 32
channels took 0.70 of the time. What stands between such convolutions is made frame by frame as well, so frames are joined where something else reads
a clip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from edgeflow.export.elementwise import ELEMENTWISE

TIME = 2
"""The axis of a clip (n, c, t, h, w) that its frames stand along."""
MOST = 8
"""Frames of a clip. Of eight and fewer it took 0.28 to 0.89 of the time, of sixteen 1.4 to 1.7 times as long, with as many nodes more."""
FEWEST = 16
"""Channels that one convolution at least makes: a block of them. Networks with 4 to 16 channels took 1.07 to 1.13 times as long, and unroll little."""
_ANY_RANK = frozenset(["BatchNormalization", *ELEMENTWISE])
"""Operators that are the same for clips and for pictures."""

Frames = list[gs.Tensor]


def rewrite(graph: gs.Graph) -> int:
    """Rewrite every convolution over frames and pixels whose weights are constant and whose sizes are known, and what stands between them.

    Returns:
        how many convolutions were rewritten.
    """
    if not any(_spans(node) for node in graph.nodes):
        return 0
    clips = _Clips(graph)
    for node in list(graph.toposort().nodes):
        clips.take(node)
    clips.join()
    return clips.convolutions


def _spans(node: gs.Node) -> bool:
    """Whether a node is a convolution that can be taken apart, sees several frames and several pixels of each, and makes a block of channels."""
    if not _is_convolution(node):
        return False
    kernel = node.inputs[1].shape[2:]
    return bool(kernel[0] > 1 and max(kernel[1:]) > 1 and node.outputs[0].shape[1] >= FEWEST)


def _is_convolution(node: gs.Node) -> bool:
    """Whether a node is a convolution of a clip of few frames by constant filters, each frame of which sees one at least."""
    if (
        node.op not in ("Conv", "ConvTranspose")
        or not _is_clip(node.inputs[0])
        or not _is_clip(node.outputs[0])
    ):
        return False
    constant = all(isinstance(each, gs.Constant) for each in node.inputs[1:])
    plain = node.attrs.get("auto_pad", "NOTSET") == "NOTSET" and "output_shape" not in node.attrs
    return constant and plain and all(_seen(node, t) for t in range(node.outputs[0].shape[TIME]))


def _is_clip(tensor: gs.Tensor) -> bool:
    shape = tensor.shape
    return shape is not None and len(shape) == 5 and isinstance(shape[TIME], int) and 0 < shape[TIME] <= MOST


def _seen(node: gs.Node, t: int) -> list[tuple[int, int]]:
    """Which of its input's frames a convolution adds to frame t of its output, each with its place in the filter."""
    length, given = node.inputs[1].shape[TIME], node.inputs[0].shape[TIME]
    stride, dilation, pad = (
        node.attrs.get(name, [of] * 6)[0] for name, of in (("strides", 1), ("dilations", 1), ("pads", 0))
    )
    if node.op == "Conv":
        at = [(t * stride + k * dilation - pad, k) for k in range(length)]
    else:
        at = [
            ((t + pad - k * dilation) // stride, k)
            for k in range(length)
            if (t + pad - k * dilation) % stride == 0
        ]
    return [(frame, k) for frame, k in at if 0 <= frame < given]


@dataclass
class _Clips:
    """A graph whose clips are taken apart.

    Attributes:
        graph: changed in place.
        frames: what each clip that was taken apart is made of, by the clip's identity.
        makers: of those clips that nodes made which are no longer needed.
        convolutions: that were rewritten.
    """

    graph: gs.Graph
    frames: dict[int, Frames] = field(default_factory=dict)
    makers: list[gs.Node] = field(default_factory=list)
    convolutions: int = 0

    def take(self, node: gs.Node) -> None:
        """Make what a node makes frame by frame, if it is such a convolution or reads what was made so."""
        if not _spans(node) and not any(id(tensor) in self.frames for tensor in node.inputs):
            return
        if _is_only_frame(node):
            node.op, node.inputs = "Identity", self._of(node.inputs[0])
        elif rule := self._rule(node):
            self.frames[id(node.outputs[0])] = rule(node)
            self.makers.append(node)
            self.convolutions += rule == self._convolution

    def join(self) -> None:
        """Make the clips that are read as such out of their frames, and drop what made them before."""
        for node in self.makers:
            node.inputs.clear()
        for node in self.makers:
            (made,) = node.outputs
            node.outputs.clear()
            if made.outputs or any(made is output for output in self.graph.outputs):
                self._join(made)

    def _rule(self, node: gs.Node) -> Callable[[gs.Node], Frames] | None:
        """How a node is made frame by frame; None if it cannot be."""
        if _is_convolution(node):
            return self._convolution
        if _averages(node):
            return self._mean
        return self._each if _is_alike(node) else None

    def _of(self, clip: gs.Tensor) -> Frames:
        """A clip's frames: as they were made or stacked, or else split off."""
        if id(clip) not in self.frames:
            self.frames[id(clip)] = self._stacked(clip) or self._split(clip)
        return self.frames[id(clip)]

    def _stacked(self, clip: gs.Tensor) -> Frames:
        """The pictures of which a clip was stacked; none if it was not."""
        maker = clip.inputs[0] if clip.inputs else None
        if maker is None:
            return []
        if maker.op == "Unsqueeze" and _numbers(maker, 1) in ([TIME], [TIME - 5]):
            return [maker.inputs[0]]
        if maker.op != "Concat" or maker.attrs["axis"] not in (TIME, TIME - 5):
            return []
        parts = [self._stacked(part) for part in maker.inputs]
        return [frame for part in parts for frame in part] if all(parts) else []

    def _split(self, clip: gs.Tensor) -> Frames:
        if isinstance(clip, gs.Constant):
            return [gs.Constant(f"{clip.name}/{t}", clip.values[:, :, t]) for t in range(clip.shape[TIME])]
        single = [*clip.shape[:TIME], 1, *clip.shape[TIME + 1 :]]
        parts = [gs.Variable(f"{clip.name}/{t}.part", clip.dtype, single) for t in range(clip.shape[TIME])]
        sizes = gs.Constant(f"{clip.name}/sizes", np.ones(len(parts), np.int64))
        self.graph.nodes.append(
            gs.Node("Split", f"{clip.name}/split", {"axis": TIME}, [clip, sizes], list(parts))
        )
        axis = gs.Constant(f"{clip.name}/time", np.array([TIME], np.int64))
        return [self._node("Squeeze", clip, t, [part, axis]) for t, part in enumerate(parts)]

    def _convolution(self, node: gs.Node) -> Frames:
        """The sum over the frames that a filter sees."""
        (made,) = node.outputs
        given, (weight, *bias) = self._of(node.inputs[0]), node.inputs[1:]
        filters = [
            gs.Constant(f"{made.name}/filters{k}", weight.values[:, :, k]) for k in range(weight.shape[TIME])
        ]
        attributes = _of_pictures(node.attrs)
        frames = []
        for t in range(made.shape[TIME]):
            total = None
            for frame, k in _seen(node, t):
                inputs = [given[frame], filters[k], *(bias if total is None else [])]
                seen = self._node(node.op, made, f"{t}.{k}", inputs, attributes)
                total = seen if total is None else self._node("Add", made, f"{t}.to_{k}", [total, seen])
            frames.append(total)
        return frames

    def _each(self, node: gs.Node) -> Frames:
        """The same operator for each frame."""
        (made,) = node.outputs
        axis = {"axis": 1} if node.op == "Concat" else {}
        return [
            self._node(
                node.op,
                made,
                t,
                [self._at(tensor, t, f"{made.name}/{t}") for tensor in node.inputs],
                node.attrs | axis,
            )
            for t in range(made.shape[TIME])
        ]

    def _at(self, tensor: gs.Tensor, t: int, part: str) -> gs.Tensor:
        """What an operator reads of a tensor for frame t, to make a part of that name."""
        if _is_clip(tensor):
            frames = self._of(tensor)
            return frames[t % len(frames)]
        if isinstance(tensor, gs.Constant) and tensor.values.ndim > 2:  # a clip without its first dimensions
            times = tensor.values.shape[-3]
            return gs.Constant(f"{part}/{tensor.name}", np.take(tensor.values, t % times, -3))
        return tensor

    def _mean(self, node: gs.Node) -> Frames:
        """The mean over frames and pixels is the mean of the frames' means."""
        (made,) = node.outputs
        frames = self._of(node.inputs[0])
        axes = gs.Constant(f"{made.name}/axes", np.array([2, 3], np.int64))
        means = [
            self._node("ReduceMean", made, t, [frame, axes], {"keepdims": 1})
            for t, frame in enumerate(frames)
        ]
        return [self._node("Mean", made, "of_all", means)]

    def _join(self, clip: gs.Tensor) -> None:
        axis = gs.Constant(f"{clip.name}/time", np.array([TIME], np.int64))
        parts = [
            self._node("Unsqueeze", clip, f"{t}.part", [frame, axis])
            for t, frame in enumerate(self.frames[id(clip)])
        ]
        self.graph.nodes.append(gs.Node("Concat", f"{clip.name}/join", {"axis": TIME}, parts, [clip]))

    def _node(
        self,
        op: str,
        clip: gs.Tensor,
        part: object,
        inputs: Frames,
        attributes: Mapping[str, Any] | None = None,
    ) -> gs.Variable:
        """Adds a node that makes a part of a clip."""
        made = gs.Variable(f"{clip.name}/{part}", clip.dtype)
        self.graph.nodes.append(gs.Node(op, f"{made.name}.node", dict(attributes or {}), inputs, [made]))
        return made


def _is_alike(node: gs.Node) -> bool:
    """Whether a node makes a frame of the same frames of the clips that it reads."""
    if len(node.outputs) != 1 or not _is_clip(node.outputs[0]):
        return False
    if node.op == "Concat":
        return node.attrs["axis"] in (1, 1 - 5) and all(map(_is_clip, node.inputs))
    return node.op in _ANY_RANK and all(
        _is_clip(tensor) or (isinstance(tensor, gs.Constant) and tensor.values.ndim < 5)
        for tensor in node.inputs
    )


def _averages(node: gs.Node) -> bool:
    """Whether a node is the mean of each channel over frames and pixels."""
    mean = node.op == "ReduceMean" and node.attrs.get("keepdims", 1) == 1 and _is_clip(node.inputs[0])
    return mean and {axis % 5 for axis in _numbers(node, 1)} == {TIME, 3, 4}


def _is_only_frame(node: gs.Node) -> bool:
    """Whether a node makes a picture of a clip of one frame."""
    if node.op != "Squeeze" or not _is_clip(node.inputs[0]):
        return False
    return [axis % 5 for axis in _numbers(node, 1)] == [TIME]


def _numbers(node: gs.Node, position: int) -> list[int]:
    """A constant input's; none if it is not constant."""
    given = node.inputs[position] if len(node.inputs) > position else None
    return [int(number) for number in given.values.ravel()] if isinstance(given, gs.Constant) else []


def _of_pictures(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """A convolution's attributes without those over time."""
    made = dict(attributes)
    for name in ("dilations", "kernel_shape", "strides", "output_padding"):
        if name in made:
            made[name] = list(made[name][1:])
    if "pads" in made:
        made["pads"] = [*made["pads"][1:3], *made["pads"][4:]]
    return made
