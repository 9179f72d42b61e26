"""What decodes a film's pictures: FFmpeg's choice, but for a codec whose damage another decoder sees."""

from __future__ import annotations

from contextlib import suppress
from typing import cast

import av
from av.codec.codec import UnknownCodecError
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

_STRICTER = {"vp9": "libvpx-vp9"}
"""Decoders that refuse damaged pictures which FFmpeg's own make into others without a word. They read 8 bits."""


def decoder_of(stream: VideoStream) -> VideoCodecContext:
    """The decoder of a stream, without frame threads: they swallow errors, how many depends on the machine."""
    decoder = stream.codec_context
    if decoder.name in _STRICTER and decoder.format is not None and decoder.format.components[0].bits == 8:
        with suppress(UnknownCodecError):  # an FFmpeg that was built without it
            decoder = cast(VideoCodecContext, av.CodecContext.create(_STRICTER[decoder.name], "r"))
    decoder.thread_type = "SLICE"
    return decoder
