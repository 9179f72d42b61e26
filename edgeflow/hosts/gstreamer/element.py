"""The element `edgeflow`: raw RGB video in, what a bundle makes of it out.

    gst-launch-1.0 filesrc location=in.mp4 ! decodebin ! videoconvert ! edgeflow bundle=rife.edgeflow times=2 ! videoconvert ! x264enc ! ...

Frames come and go on one thread: `queue` elements before and after it let decoding and encoding run beside.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any, ClassVar

import gi
import numpy as np
from numpy.typing import NDArray

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import GObject, Gst, GstVideo  # noqa: E402

from edgeflow.hosts.film_stream import FilmStream, Picture  # noqa: E402
from edgeflow.ir.bundle import Bundle, open_bundle  # noqa: E402
from edgeflow.ir.errors import EdgeflowError, InputError  # noqa: E402
from edgeflow.runtime.session import Session, fitting_size, picture_size  # noqa: E402
from edgeflow.runtime.video.calls import Calls, film_calls  # noqa: E402
from edgeflow.runtime.video.rate import parse_fps  # noqa: E402

_CAPS = (
    "video/x-raw, format=RGB, width=[2, 2147483647], height=[2, 2147483647], framerate=[0/1, 2147483647/1]"
)
_NANO = 10**9


def _property(kind: type, default: Any, nick: str, least: Any = None, most: Any = None) -> tuple[Any, ...]:
    limits = () if least is None else (least, most)
    return (kind, nick, nick, *limits, default, GObject.ParamFlags.READWRITE)


class Edgeflow(Gst.Element):  # type: ignore[misc]
    """A filter whose output may have another size, another frame rate, or both."""

    __gtype_name__ = "Edgeflow"

    __gstmetadata__ = (
        "edgeflow",
        "Filter/Effect/Video",
        "Runs video through a routed network: pictures in place of frames, or between them",
        "edgeflow",
    )
    __gsttemplates__ = (
        Gst.PadTemplate.new(
            "sink", Gst.PadDirection.SINK, Gst.PadPresence.ALWAYS, Gst.Caps.from_string(_CAPS)
        ),
        Gst.PadTemplate.new("src", Gst.PadDirection.SRC, Gst.PadPresence.ALWAYS, Gst.Caps.from_string(_CAPS)),
    )
    __gproperties__: ClassVar[dict[str, Any]] = {
        "bundle": _property(str, "", "Folder of the bundle"),
        "times": _property(int, 0, "Multiply the frame rate; 0 for what the model does", 0, 1000),
        "fps": _property(str, "", "Frames per second of the result instead, such as 60 or 60000/1001"),
        "threads": _property(int, 0, "CPU threads of the engines; 0 for all", 0, 4096),
        "library": _property(str, "", "Engine library; the target's own if empty"),
    }

    def __init__(self) -> None:
        super().__init__()
        self._options: dict[str, Any] = {"bundle": "", "times": 0, "fps": "", "threads": 0, "library": ""}
        self._bundle: Bundle | None = None
        self._session: Session | None = None
        self._stream: FilmStream | None = None
        self._size, self._fps = (0, 0), Fraction(0)
        self._segment: Any = None
        self._failed = False
        sink, src = self.__gsttemplates__
        self._sink = Gst.Pad.new_from_template(sink, "sink")
        self._sink.set_chain_function_full(self._chain)
        self._sink.set_event_function_full(self._sink_event)
        self._sink.set_query_function_full(self._sink_query)
        self._src = Gst.Pad.new_from_template(src, "src")
        self._src.set_query_function_full(self._src_query)
        self.add_pad(self._sink)
        self.add_pad(self._src)

    def do_get_property(self, prop: Any) -> Any:
        """GObject's way to read a property."""
        return self._options[prop.name]

    def do_set_property(self, prop: Any, value: Any) -> None:
        """GObject's way to set a property; they hold from the next caps on."""
        self._options[prop.name] = value

    def do_change_state(self, change: Any) -> Any:
        """Let go of the engines when the pipeline stops."""
        done = Gst.Element.do_change_state(self, change)
        if change == Gst.StateChange.PAUSED_TO_READY:
            if self._session is not None:
                self._session.close()
            self._session, self._stream, self._segment = None, None, None
            self._failed = False
        return done

    # Caps -----------------------------------------------------------------------------------

    def _set_caps(self, caps: Any) -> None:
        """Load the engines for frames of these caps, and say downstream what comes.

        Raises:
            EdgeflowError: the bundle cannot be opened, or does not take such frames.
        """
        info = GstVideo.VideoInfo.new_from_caps(caps)
        size, fps = (info.height, info.width), Fraction(info.fps_n, max(info.fps_d, 1))
        calls = self._calls()
        assert self._bundle is not None
        wanted = fitting_size(self._bundle.manifest.plans, *size)
        if wanted != size:
            raise InputError(
                f"frames are {size[1]}x{size[0]}, the bundle is for {wanted[1]}x{wanted[0]}: put videoscale ! "
                f"video/x-raw,width={wanted[1]},height={wanted[0]} before edgeflow"
            )
        if self._session is None or size != self._size:
            self._open(size)
        assert self._session is not None
        self._size, self._fps = size, fps
        self._stream = FilmStream(self._session, calls, fps or Fraction(25))
        self._src.push_event(Gst.Event.new_caps(self._made_caps(caps, calls)))

    def _calls(self) -> Calls:
        path = self._options["bundle"]
        if not path:
            raise InputError("no bundle is given: set bundle=PATH")
        if self._bundle is None or str(self._bundle.path) != path:
            self._bundle, self._session = open_bundle(path), None
        fps = parse_fps(self._options["fps"]) if self._options["fps"] else None
        return film_calls(self._bundle.manifest.task, self._options["times"] or None, fps)

    def _open(self, size: tuple[int, int]) -> None:
        if self._session is not None:
            self._session.close()
        threads, library = self._options["threads"] or None, self._options["library"] or None
        assert self._bundle is not None
        self._session = Session(self._bundle, threads=threads, library=library)
        self._session.prepare(*size)

    def _made_caps(self, caps: Any, calls: Calls) -> Any:
        """The caps of what is made of frames of these: another size and rate, and else the same."""
        assert self._bundle is not None
        height, width = picture_size(self._bundle, *self._size)
        rate = calls.rate.of(self._fps) if self._fps else Fraction(0)
        made = caps.copy()
        made.set_value("width", width)
        made.set_value("height", height)
        made.set_value("framerate", Gst.Fraction(rate.numerator, rate.denominator))
        return made

    # Frames ---------------------------------------------------------------------------------

    def _chain(self, pad: Any, parent: Any, buffer: Any) -> Any:
        if self._stream is None:
            return Gst.FlowReturn.NOT_NEGOTIATED
        try:
            if buffer.has_flags(Gst.BufferFlags.DISCONT):  # what was before does not lead here
                flow = self._push(self._stream.finish())
                if flow != Gst.FlowReturn.OK:
                    return flow
            pixels = _pixels(buffer, *self._size)
            return self._push(self._stream.push(pixels, Fraction(buffer.pts, _NANO)))
        except EdgeflowError as error:
            return self._fail(error)

    def _push(self, pictures: Iterable[Picture]) -> Any:
        """Send pictures on, each as soon as it is made."""
        for picture in pictures:
            buffer = Gst.Buffer.new_wrapped(_packed(picture.pixels))
            buffer.pts = round(picture.time * _NANO)
            buffer.duration = round(picture.lasts * _NANO)
            flow = self._src.push(buffer)
            if flow != Gst.FlowReturn.OK:
                return flow
        return Gst.FlowReturn.OK

    def _fail(self, error: Exception) -> Any:
        """Stop the pipeline with a message: one, though caps come again with every frame."""
        if self._failed:
            return Gst.FlowReturn.ERROR
        self._failed = True
        domain = Gst.stream_error_quark()
        self.message_full(
            Gst.MessageType.ERROR, domain, Gst.StreamError.FAILED, str(error), None, __file__, "edgeflow", 0
        )
        return Gst.FlowReturn.ERROR

    # Events and queries ---------------------------------------------------------------------

    def _sink_event(self, pad: Any, parent: Any, event: Any) -> bool:
        if self._failed:
            return False
        try:
            if event.type == Gst.EventType.CAPS:
                self._drain()
                self._set_caps(event.parse_caps())
                return True
            if event.type in (Gst.EventType.EOS, Gst.EventType.SEGMENT):
                self._drain()
            elif event.type == Gst.EventType.FLUSH_STOP and self._stream is not None:
                self._stream.reset()
        except EdgeflowError as error:
            self._fail(error)
            return False
        return bool(self._src.push_event(event))

    def _drain(self) -> None:
        """Send on what the frames so far still make."""
        if self._stream is not None:
            self._push(self._stream.finish())

    def _sink_query(self, pad: Any, parent: Any, query: Any) -> bool:
        if query.type == Gst.QueryType.ALLOCATION:
            return False  # downstream's buffers are for frames of another size
        return bool(pad.query_default(parent, query))

    def _src_query(self, pad: Any, parent: Any, query: Any) -> bool:
        if query.type != Gst.QueryType.LATENCY or not self._sink.peer_query(query):
            return bool(pad.query_default(parent, query))
        if self._stream is not None and self._fps:
            live, least, most = query.parse_latency()
            own = round(self._stream.delay / self._fps * _NANO)
            query.set_latency(live, least + own, most if most == Gst.CLOCK_TIME_NONE else most + own)
        return True


def _pixels(buffer: Any, height: int, width: int) -> NDArray[np.uint8]:
    """A buffer's picture, (h, w, 3), in memory of its own."""
    meta = GstVideo.buffer_get_video_meta(buffer)
    stride, offset = (meta.stride[0], meta.offset[0]) if meta else (-(-3 * width // 4) * 4, 0)
    found, mapped = buffer.map(Gst.MapFlags.READ)
    if not found:
        raise InputError("a frame's memory cannot be read: put videoconvert before edgeflow")
    try:
        rows = np.frombuffer(mapped.data, np.uint8, stride * (height - 1) + 3 * width, offset)
        padded = np.zeros(stride * height, np.uint8)
        padded[: len(rows)] = rows
    finally:
        buffer.unmap(mapped)
    return np.ascontiguousarray(padded.reshape(height, stride)[:, : 3 * width].reshape(height, width, 3))


def _packed(picture: NDArray[np.uint8]) -> bytes:
    """A picture (h, w, 3) with rows that GStreamer takes for RGB: of a multiple of four bytes."""
    height, width, _ = picture.shape
    missing = -3 * width % 4
    rows = picture.reshape(height, 3 * width)
    return (np.pad(rows, ((0, 0), (0, missing))) if missing else rows).tobytes()


GObject.type_register(Edgeflow)
__gstelementfactory__ = ("edgeflow", Gst.Rank.NONE, Edgeflow)
