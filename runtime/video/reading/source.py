"""Opens what a film can be read from: a file, a folder of pictures, an animation, a pipe, a camera or a network address."""

from __future__ import annotations

import io
import re
import sys
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, TypeAlias

import av
import numpy as np
from av.container import InputContainer
from PIL import Image, UnidentifiedImageError

from edgeflow.ir.errors import VideoError

Source: TypeAlias = str | Path | BinaryIO

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
"""Suffixes of the pictures that a folder may hold."""

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_LIVE = re.compile(r"(rtsps?|rtmps?|rtp|udp|tcp|srt|rist)://", re.IGNORECASE)
_CAMERA = re.compile(r"/dev/video\d+")
_SECONDS = 30.0
"""That an address may take to answer, or to send the next bytes."""


def is_address(source: Source) -> bool:
    """Whether a source is a network address or a camera: it can be read once, as it comes."""
    return isinstance(source, str) and bool(_ADDRESS.match(source) or _CAMERA.fullmatch(source))


def is_live(source: Source, container: InputContainer) -> bool:
    """Whether an opened source goes on whether it is read or not: a camera, a stream, an address that tells no length."""
    if not isinstance(source, str) or not is_address(source):
        return False
    return bool(_LIVE.match(source) or _CAMERA.fullmatch(source)) or container.duration is None


def is_kept(source: Source) -> bool:
    """Whether a source is a file or folder, which can be read again."""
    return (
        isinstance(source, str | Path)
        and str(source) != "-"
        and not is_address(source)
        and Path(source).exists()
    )


def open_source(source: Source) -> tuple[str, InputContainer]:
    """What messages call a source, and its demuxer.

    Raises:
        VideoError: it is missing, empty, or nothing that can be read as a video.
    """
    if str(source) == "-":
        # Unbuffered: a reader thread stuck in a buffered read would hold a lock Python wants at exit.
        try:
            stdin = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115
        except (OSError, ValueError, AttributeError) as error:
            raise VideoError("stdin is closed: pipe a y4m video into it, or name a file") from error
        return "stdin", _demuxer(stdin, "stdin", "yuv4mpegpipe")
    if not isinstance(source, str | Path):
        name = str(getattr(source, "name", "the stream"))
        return name, _demuxer(source, name, None)
    if is_address(source):
        name = str(source)
        camera = "v4l2" if _CAMERA.fullmatch(name) else None
        ways = {"rtsp_flags": "prefer_tcp"} if name.lower().startswith("rtsp") else {}  # loses no packets
        return name, _demuxer(name, name, camera, _SECONDS, ways)
    path = Path(source)
    if not path.exists():
        raise VideoError(f"{path}: no such file; check the path")
    if path.is_dir():
        return str(path), _pictures_of(path)
    if path.is_file() and path.stat().st_size == 0:
        raise VideoError(f"{path}: is empty; copy or record it again")
    if path.suffix.lower() == ".webp" and (frames := _animation(path)) is not None:
        return str(path), frames
    # "file:" keeps FFmpeg from taking a name with a colon for a network address.
    return str(path), _demuxer(f"file:{path}", str(path), None)


def _pictures_of(folder: Path) -> InputContainer:
    """The pictures of a folder in the order of their names, 25 a second.

    Raises:
        VideoError: it holds none, or pictures of several kinds.
    """
    kinds = sorted({path.suffix for path in folder.iterdir() if path.suffix.lower() in PICTURES})
    if len(kinds) != 1:
        held = f"pictures of several kinds ({', '.join(kinds)})" if kinds else "no pictures"
        raise VideoError(
            f"{folder}: holds {held}; give a folder of {', '.join(sorted(PICTURES))} of one kind"
        )
    place = "".join(f"\\{sign}" if sign in "*?[]{}\\" else sign for sign in str(folder.resolve()))
    options = {"pattern_type": "glob", "framerate": "25"}
    try:
        return av.open(f"{place}/*{kinds[0]}", "r", format="image2", options=options)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(
            f"{folder}: cannot be read as pictures ({error.strerror or error}); check that they open"
        ) from error


def _animation(path: Path) -> InputContainer | None:
    """The frames of an animated WebP, which FFmpeg cannot decode and Pillow can; None of a still one."""
    try:
        with Image.open(path) as picture:
            count = getattr(picture, "n_frames", 1)
            if count < 2:
                return None
            held = io.BytesIO()
            with av.open(held, "w", format="nut") as out:
                stream = out.add_stream("ffv1", rate=1000)
                layout = (
                    "bgra" if picture.has_transparency_data else "bgr0"
                )  # the reader says what it leaves out
                stream.width, stream.height, stream.pix_fmt = *picture.size, layout
                stream.codec_context.time_base = Fraction(1, 1000)
                at = 0
                for number in range(count):
                    picture.seek(number)
                    frame = av.VideoFrame.from_ndarray(np.asarray(picture.convert("RGBA")), "rgba")
                    frame = frame.reformat(format=layout)
                    frame.pts, frame.time_base = at, Fraction(1, 1000)
                    at += round(picture.info.get("duration", 40)) or 40
                    out.mux(stream.encode(frame))
                out.mux(stream.encode(None))
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise VideoError(f"{path}: cannot be read as an animation ({error}); check that it opens") from error
    held.seek(0)
    return _demuxer(held, str(path), "nut")


def _demuxer(
    file: str | BinaryIO,
    name: str,
    container: str | None,
    timeout: float | None = None,
    options: dict[str, str] | None = None,
) -> InputContainer:
    try:  # tags of old cameras and programs are in any encoding
        return av.open(
            file, "r", format=container, options=options, metadata_errors="replace", timeout=timeout
        )
    except (av.FFmpegError, OSError) as error:
        reason = error.strerror or type(error).__name__
        if is_address(name):
            raise VideoError(f"{name}: cannot be opened ({reason}); {_way_to(name, error)}") from error
        wanted = "y4m" if container == "yuv4mpegpipe" else "a video, or its index is cut off"
        raise VideoError(f"{name}: cannot be read as {wanted} ({reason}); check that it plays") from error


def _way_to(address: str, error: Exception) -> str:
    """What to do about an address that cannot be opened."""
    if isinstance(error, av.ProtocolNotFoundError):
        return (
            f"PyAV's FFmpeg was built without {address.partition(':')[0].lower()}: let a program that has it pass the pictures on, e.g. "
            f"`ffmpeg -i {address} -f yuv4mpegpipe - | edgeflow run BUNDLE - -o OUTPUT`"
        )
    if _CAMERA.fullmatch(address):
        return "check that the camera is connected, and that you may read it"
    return "check the address, and that something is sent there"
