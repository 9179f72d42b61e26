"""The frames around one frame of a clip, as clips that stand earlier or later."""

from __future__ import annotations

import vapoursynth as vs


def shifted(clip: vs.VideoNode, by: int) -> vs.VideoNode:
    """A clip whose frame n is frame n + `by` of another, and its first or last one where there is none."""
    last = clip.num_frames - 1
    by = max(-last, min(by, last))
    if by > 0:
        return clip.std.DuplicateFrames([last] * by)[by:]
    return clip.std.DuplicateFrames([0] * -by)[: last + 1] if by else clip
