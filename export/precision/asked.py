"""What is asked of an engine at int8, on what it saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeflow.export.precision.calibrate import Array, Seen
from edgeflow.ir.sqnr import sqnr_db
from edgeflow.runtime.checking.gates import GATES

MINIMUM_SQNR_DB = 20.0
"""Least signal-to-noise ratio (dB) of each output against the float one."""

SPARE_DB = 1.0
"""What pictures must reach beyond the gate of whole frames: half precision and other processors round otherwise."""


@dataclass(frozen=True)
class Reached:
    """What an engine reached.

    Attributes:
        sqnr_db: signal to error of the worst output.
        spare_db: by how much it is better than asked; below 0 if it is not.
        words: the output that has least to spare, beside what is asked.
    """

    sqnr_db: float
    spare_db: float
    words: str


@dataclass(frozen=True)
class Asked:
    """What an engine must reach.

    Attributes:
        sqnr_db: signal to error of each output.
        picture_db: PSNR of each picture, before rounding. An engine that misses the gate of whole frames by itself would
            make frames that miss it.
    """

    sqnr_db: float = MINIMUM_SQNR_DB
    picture_db: float = GATES["int8"].psnr_db + SPARE_DB

    def more(self, reached_db: float, db: float) -> Asked:
        """So many dB more of pictures, and of each output than the worst engine's signal to error."""
        return Asked(max(self.sqnr_db, reached_db) + db, self.picture_db + db)

    def compare(self, seen: Seen, made: Sequence[Sequence[Array]]) -> Reached:
        """What an engine's outputs reached.

        Args:
            seen: by the engine, with what it makes at fp32.
            made: the outputs at int8, per row of what was seen; those first that are compared.
        """
        spare, words, signals = [], [], []
        for i, port in enumerate(seen.outputs):
            pairs = [(ours[i], theirs[i]) for ours, theirs in zip(made, seen.wanted, strict=False)]
            signals.append(sqnr_db(pairs))
            spare.append(signals[-1] - self.sqnr_db)
            words.append(_said(signals[-1], "signal to error", self.sqnr_db))
            if port.tensor in seen.pictures:
                psnr = psnr_db(pairs)
                spare.append(psnr - self.picture_db)
                words.append(_said(psnr, "PSNR", self.picture_db))
        worst = int(np.argmin(spare))  # what is no number comes first
        return Reached(float(np.min(signals)), spare[worst], words[worst])


def psnr_db(pairs: Sequence[tuple[Array, Array]]) -> float:
    """PSNR of (made, wanted) arrays of one tensor, relative to its largest value, or to 1 if that is larger."""
    peak = max(1.0, *(float(np.abs(wanted).max()) for _, wanted in pairs))
    error = float(np.mean([np.mean((made.astype(np.float64) - wanted) ** 2) for made, wanted in pairs]))
    return float(20 * np.log10(peak) - 10 * np.log10(max(error, 1e-20)))


def _said(reached: float, unit: str, asked: float) -> str:
    return f"{reached:.1f} dB of {unit}, {asked:.0f} dB are asked for"
