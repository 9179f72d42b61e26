"""What engines and whole frames must reach, by precision."""

from __future__ import annotations

from dataclasses import dataclass

TOLERANCE = 1e-4
"""Largest error of an fp32 engine, relative to the largest value of its output or to 1."""

HALF_TOLERANCES = {"float16": 1e-3, "bfloat16": 8e-3}
"""The same for an fp32 engine that reads or hands on half precision: twice what rounding to it costs."""

MINIMUM_PSNR_DB = 70.0
"""Least PSNR (dB) of whole frames of an fp32 bundle against the eager flow, before rounding."""


MOVES = 16.0
"""An engine may be off by so many times what the model itself moves by when its inputs change in the last digit."""


@dataclass(frozen=True)
class Gate:
    """What a precision must reach.

    Attributes:
        sqnr_db: least of an engine's outputs against its golden vector; none at fp32, where the
            largest error is limited instead.
        psnr_db: least of whole frames.
        flip_rate: largest share of decisions that may differ.
        rounding: largest difference of the uint8 output from the rounded golden, in levels.
    """

    sqnr_db: float | None
    psnr_db: float
    flip_rate: float
    rounding: int


GATES = {
    "fp32": Gate(None, MINIMUM_PSNR_DB, 0.0, 1),
    "fp16": Gate(40.0, 60.0, 0.01, 255),
    "bf16": Gate(30.0, 50.0, 0.01, 255),
    "int8": Gate(15.0, 40.0, 0.01, 255),
}
"""Engines are held to their own precision, whole frames to the bundle's; 255 levels are any rounding.

CAIN-SD `small` and `tiny` reach, at bf16, 37 dB and more on every engine and 58 dB on frames (55 dB where the
graphs themselves are typed); at int8, 21 dB and 49 dB. The gates lie a little below.
"""
