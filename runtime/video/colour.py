"""Turns pictures into RGB frames and back, so that reading and writing cannot disagree.

The conversion uses the matrix and range the stream states. An unstated matrix is BT.709 from 720
lines up and BT.601 below, as players assume; an unstated range is limited, except for the yuvj and
grey formats. Flat colours come back within two levels. Colour edges soften by a few levels, as they
do wherever two pixels share one chroma sample, and stay where they are: pictures are read with their chroma where the stream says it lies,
and written with it where their codec says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias, cast

import numpy as np
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

Frame: TypeAlias = NDArray[np.uint8]

# FFmpeg's AVColorSpace -> swscale's matrix; the two number the same matrices differently.
_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_NAMES = {1: "bt709", 4: "fcc", 5: "bt601", 7: "smpte240m", 9: "bt2020"}
"""FFmpeg's names of swscale's matrices."""
_BT709, _BT601 = 1, 5
_SPACE_RGB, _SPACE_BT709 = 0, 1
_LIMITED, _FULL = 1, 2

# swscale's flags, as numbers because PyAV names them only since version 17. Without accurate rounding
# and full chroma its fast path darkens every picture by one level per round trip.
_BICUBIC, _AREA, _FULL_CHROMA, _ACCURATE = 0x4, 0x20, 0x2000, 0x40000


def assumed_matrix(height: int) -> int:
    """The matrix that players assume where none is stated, in swscale's numbers."""
    return _BT709 if height >= 720 else _BT601


@dataclass(frozen=True)
class Colour:
    """How a stream's luma and chroma stand for RGB.

    Attributes:
        full: Whether black to white is 0..255 rather than 16..235.
        matrix: The matrix in swscale's numbers, never unstated.
        space: The stream's tags in FFmpeg's numbers, 2 being unstated; a copy carries them on as they are.
        primaries: See space.
        transfer: See space.
    """

    full: bool = False
    matrix: int = _BT709
    space: int = 1
    primaries: int = 1
    transfer: int = 1

    @classmethod
    def of(cls, context: VideoCodecContext) -> Colour:
        """What a decoder states, completed by what players assume."""
        unstated_full = (context.pix_fmt or "").startswith(("yuvj", "gray"))
        space = context.colorspace if context.colorspace != _SPACE_RGB else _SPACE_BT709
        return cls(
            full=context.color_range == _FULL or (context.color_range != _LIMITED and unstated_full),
            matrix=_MATRIX.get(space, assumed_matrix(context.height)),
            space=space,
            primaries=context.color_primaries,
            transfer=context.color_trc,
        )


class Rgb:
    """Converts pictures of one colour description to RGB and back."""

    def __init__(self, colour: Colour) -> None:
        self._matrix = colour.matrix
        self._range = _FULL if colour.full else _LIMITED
        # The RGB side has no matrix, but PyAV 14 ignores the other side's when the two are equal.
        self._rgb_matrix = _BT709 if colour.matrix == _BT601 else _BT601
        # One object for each direction keeps its swscale tables from frame to frame.
        self._decode, self._encode = VideoReformatter(), VideoReformatter()
        self._decode_deep, self._encode_deep = VideoReformatter(), VideoReformatter()
        self._siting: tuple[tuple[int, int, str, str], Graph] | None = None

    def from_picture(self, picture: VideoFrame, size: tuple[int, int] | None = None) -> Frame:
        """The picture as a contiguous (H, W, 3) uint8 array, resized to (height, width) if that is given."""
        return np.ascontiguousarray(self._to_rgb(picture, size, "rgb24", self._decode), dtype=np.uint8)

    def from_picture_deep(
        self, picture: VideoFrame, size: tuple[int, int] | None = None
    ) -> NDArray[np.uint16]:
        """The picture as a contiguous (H, W, 3) uint16 array, as `from_picture`."""
        return np.ascontiguousarray(
            self._to_rgb(picture, size, "rgb48le", self._decode_deep), dtype=np.uint16
        )

    def _to_rgb(
        self, picture: VideoFrame, size: tuple[int, int] | None, layout: str, by: VideoReformatter
    ) -> NDArray[Any]:
        own = (picture.height, picture.width)
        height, width = size or own
        same = (height, width) == own
        rgb = by.reformat(
            picture,
            width,
            height,
            format=layout,
            src_colorspace=self._matrix,
            src_color_range=self._range,
            dst_colorspace=self._rgb_matrix,
            dst_color_range=_FULL,
            interpolation=(_BICUBIC if same else _AREA) | _FULL_CHROMA | _ACCURATE,
        )
        return rgb.to_ndarray()

    def to_picture(self, frame: NDArray[Any], pixel_format: str, left: bool = False) -> VideoFrame:
        """The frame, uint8 or uint16, as a picture in a YUV pixel format.

        Args:
            frame: (height, width, 3).
            pixel_format: by FFmpeg's name.
            left: chroma samples lie above each other with the left one of the two columns they are for, not between them.
        """
        deep = frame.dtype == np.uint16
        plain = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb48le" if deep else "rgb24")
        if left:
            return self._sited(plain, pixel_format)
        by = self._encode_deep if deep else self._encode
        return by.reformat(
            plain,
            format=pixel_format,
            src_colorspace=self._rgb_matrix,
            src_color_range=_FULL,
            dst_colorspace=self._matrix,
            dst_color_range=self._range,
            interpolation=_BICUBIC | _FULL_CHROMA | _ACCURATE,
        )

    def _sited(self, plain: VideoFrame, pixel_format: str) -> VideoFrame:
        """The same with chroma on the left, which PyAV's reformatter cannot be asked for, and a filter can."""
        wanted = (plain.width, plain.height, plain.format.name, pixel_format)
        if self._siting is None or self._siting[0] != wanted:
            self._siting = wanted, self._graph(*wanted)
        graph = self._siting[1]
        plain.pts, plain.time_base = 0, Fraction(1, 25)
        graph.push(plain)
        return cast(VideoFrame, graph.pull())

    def _graph(self, width: int, height: int, source: str, target: str) -> Graph:
        graph = Graph()
        into = graph.add_buffer(
            width=width, height=height, format=VideoFormat(source), time_base=Fraction(1, 25)
        )
        scale = graph.add(
            "scale",
            f"flags=bicubic+full_chroma_int+accurate_rnd:in_range=pc:out_range={'pc' if self._range == _FULL else 'tv'}:"
            f"out_color_matrix={_NAMES[self._matrix]}:out_chroma_loc=left",
        )
        layout, out = graph.add("format", target), graph.add("buffersink")
        into.link_to(scale)
        scale.link_to(layout)
        layout.link_to(out)
        graph.configure()
        return graph
