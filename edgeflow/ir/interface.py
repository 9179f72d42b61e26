"""What a program takes and makes: tensors, images and clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.errors import FlowError

Shape: TypeAlias = tuple[int | str, ...]
"""Dimensions; a string names one that is free until a session opens (`height`, `width`)."""


@dataclass(frozen=True)
class Tensor:
    """Declares a program input or output: a float32 tensor.

    Attributes:
        name: unique among inputs or outputs.
        shape: without the batch dimension; a string is a free dimension.

    Raises:
        FlowError: the shape is one size and no sequence of them.
    """

    name: str
    shape: Shape = ()
    image: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.shape, Sequence) or isinstance(self.shape, str):
            raise FlowError(
                f"the shape of {self.name} is {self.shape!r}: give its sizes as ({self.shape!r},)"
            )


@dataclass(frozen=True)
class Image:
    """Declares an RGB image: (3, height, width) float in [0, 1] to the model, (height, width, 3) uint8 outside.

    Attributes:
        name: unique among inputs or outputs.
        height: in pixels, or the name of a free dimension.
        width: in pixels, or the name of a free dimension.
    """

    name: str
    height: int | str = "height"
    width: int | str = "width"
    image: bool = field(default=True, init=False)

    @property
    def shape(self) -> Shape:
        """(3, height, width)."""
        return (3, self.height, self.width)


@dataclass(frozen=True)
class Clip:
    """Declares an input of RGB frames: (frames, 3, height, width) float in [0, 1] to the model.

    Outside it is (frames, height, width, 3) uint8, so that preprocessing stays in the graph.

    Attributes:
        name: unique among inputs.
        frames: how many, or the name of a free dimension: then the flow samples it before a segment reads it.
        height: in pixels, or the name of a free dimension.
        width: in pixels, or the name of a free dimension.
    """

    name: str
    frames: int | str = "frames"
    height: int | str = "height"
    width: int | str = "width"
    image: bool = field(default=True, init=False)

    @property
    def shape(self) -> Shape:
        """(frames, 3, height, width)."""
        return (self.frames, 3, self.height, self.width)


Interface: TypeAlias = Tensor | Image | Clip


def held_shape(shape: Shape) -> Shape:
    """The shape of a picture or clip as bytes, channels last, of its shape in a segment.

    >>> held_shape((3, 720, 1280)), held_shape((16, 3, 112, 112))
    ((720, 1280, 3), (16, 112, 112, 3))
    """
    return (*shape[:-3], *shape[-2:], *shape[-3:-2])


def to_picture(planes: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Planes (3, height, width) in [0, 1] as a picture (height, width, 3), rounded as graphs round theirs."""
    picture = np.empty((*planes.shape[1:], planes.shape[0]), np.uint8)
    for channel, plane in enumerate(planes):  # one plane at a time stays in cache: 2 ms for 720p, not 9
        picture[..., channel] = np.rint(np.clip(plane, 0, 1) * np.float32(255))
    return picture


def interface_to_json(spec: Interface) -> dict[str, Any]:
    """A program input or output as plain data."""
    if isinstance(spec, Tensor):
        return {"kind": "tensor", "name": spec.name, "shape": list(spec.shape)}
    size = {"height": spec.height, "width": spec.width}
    if isinstance(spec, Clip):
        return {"kind": "clip", "name": spec.name, "frames": spec.frames, **size}
    return {"kind": "image", "name": spec.name, **size}


def interface_from_json(data: dict[str, Any]) -> Interface:
    """Inverse of `interface_to_json`."""
    if data["kind"] == "image":
        return Image(data["name"], data["height"], data["width"])
    if data["kind"] == "clip":
        return Clip(data["name"], data["frames"], data["height"], data["width"])
    return Tensor(data["name"], tuple(data["shape"]))
