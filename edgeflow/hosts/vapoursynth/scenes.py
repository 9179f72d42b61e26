"""Where scenes begin, as properties of frames: read where a clip has them, else found by comparing frames."""

from __future__ import annotations

from typing import Any

import vapoursynth as vs

from edgeflow.hosts.vapoursynth.formats import pixels
from edgeflow.hosts.vapoursynth.windows import shifted
from edgeflow.ir.errors import InputError
from edgeflow.runtime.video.scene import begins_scene

PREVIOUS, NEXT = "_SceneChangePrev", "_SceneChangeNext"
"""VapourSynth's names: whether a scene begins with a frame, and with the one after it."""

_FLASH = 12
"""Frames that a white flash may last: over longer ones a scene's change is not seen."""


def mark_scenes(clip: vs.VideoNode) -> vs.VideoNode:
    """An RGB clip whose frames say whether a scene begins with them, and with the one after them."""

    def mark(n: int, f: Any) -> vs.VideoFrame:
        here = f[0]
        if here.props.get("_FieldBased"):
            raise InputError(
                f"frame {n} is interlaced: make whole pictures of its fields first, for example by core.bwdif.Bwdif or QTGMC"
            )
        out = here.copy()
        if n == 0:
            out.props[PREVIOUS] = 0
        elif PREVIOUS not in here.props:
            known = f[1].props.get(NEXT)
            earlier = (
                [pixels(frame) for frame in reversed(f[1 : min(n, _FLASH) + 1])] if known is None else []
            )
            out.props[PREVIOUS] = int(begins_scene(earlier, pixels(here)) if known is None else known)
        return out

    def mark_next(n: int, f: Any) -> vs.VideoFrame:
        out = f[0].copy()
        out.props[NEXT] = int(n < last and f[1].props[PREVIOUS])
        return out

    last = clip.num_frames - 1
    begun = vs.core.std.ModifyFrame(clip, [shifted(clip, -back) for back in range(_FLASH + 1)], mark)
    return vs.core.std.ModifyFrame(clip, [begun, shifted(begun, 1)], mark_next)
