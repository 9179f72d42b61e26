"""How far whole frames of an int8 bundle are from what is asked of them.

Every engine may pass its own gate and the picture still miss: errors of several engines add up, and those in a state go
on from frame to frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeflow.export.plugins.bodies import runnable
from edgeflow.export.precision.asked import SPARE_DB, psnr_db
from edgeflow.export.precision.calibrate import Array, calls_on
from edgeflow.ir.bundle import Bundle
from edgeflow.runtime import Session
from edgeflow.runtime.check import check_frames
from edgeflow.runtime.checking.gates import GATES

FLIPPED_DB = 3.0
"""What frames are taken to miss that are near enough, but for decisions that flip."""


def missing_db(exact: Bundle, trial: Bundle, frames: Sequence[NDArray[np.uint8]], library: str) -> float:
    """By how many dB the worst of a bundle's frames miss; 0 or less if they hold.

    Golden frames are compared with the model's own; and where a stream has states, the whole clip with what the engines
    at fp32 make of it.

    Args:
        exact: the bundle at fp32.
        trial: the same at int8.
        frames: of the clip, (h, w, 3) uint8 each.
        library: that runs them here.
    """
    worst = -np.inf
    with runnable(exact) as plain, runnable(trial) as rounded:
        for kind, plan in exact.manifest.plans.items():
            if (exact.path / f"golden/clip-{kind}.npz").exists():
                worst = max(worst, _golden_missing_db(rounded, kind, library))
            if plan.states:
                calls = calls_on(exact, kind, frames)
                worst = max(worst, _stream_missing_db(plain, rounded, calls, library))
    return float(worst)


def _golden_missing_db(trial: Bundle, kind: str, library: str) -> float:
    found = check_frames(trial, kind, library)
    missing = found.minimum_psnr_db + SPARE_DB - found.psnr_db
    return missing if missing > 0 or found.passed else FLIPPED_DB


def _stream_missing_db(exact: Bundle, trial: Bundle, calls: Sequence[Sequence[Array]], library: str) -> float:
    """By how many dB the worst call of a stream misses: what a state has gathered shows late."""
    wanted, made = (
        [session.run(*call).outputs for call in calls]
        for session in (Session(b, library=library, exact=True, prove=False) for b in (exact, trial))
    )
    psnr = min(
        psnr_db([(ours, theirs)])
        for call, other in zip(made, wanted, strict=True)
        for ours, theirs in zip(call, other, strict=True)
    )
    return GATES["int8"].psnr_db + SPARE_DB - psnr
