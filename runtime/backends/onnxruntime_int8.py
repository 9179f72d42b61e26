"""Whether ONNX Runtime adds eight-bit products exactly on this processor, and which graphs do not need it.

Without VNNI it multiplies unsigned bytes by signed ones in pairs and cuts each sum off at 16 bits. Its session option
`session.x64quantprecision` multiplies words instead: exact, for 20 to 30% of a convolution's time there (with VNNI it
would take 2.5 times as long). Graphs whose weights keep every sum within 16 bits say so, and need no option.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort

PAIRS_FIT = "edgeflow.pairs_fit_16_bits"
"""In the metadata of a graph whose weights are such that no pair's sum overflows."""

_PRODUCT = (
    b'\x08\x08\x12\x00:X\n\x18\n\x01x\n\x01w\x12\x01y"\rMatMulInteger\x12\x01g*\x0f\x08\x04\x08\x01\x10\x03B\x01w'
    b"J\x04\x7f\x7f\x7f\x7fZ\x13\n\x01x\x12\x0e\n\x0c\x08\x02\x12\x08\n\x02\x08\x01\n\x02\x08\x04"
    b"b\x13\n\x01y\x12\x0e\n\x0c\x08\x06\x12\x08\n\x02\x08\x01\n\x02\x08\x01B\x04\n\x00\x10\r"
)
"""An ONNX model: y (1, 1) int32 = x (1, 4) uint8 @ four times 127, int8, by MatMulInteger."""


def needs_precision(path: Path) -> bool:
    """Whether a graph file at int8 would be computed wrongly here without the option."""
    return saturates() and PAIRS_FIT.encode() not in path.read_bytes()


@cache
def saturates() -> bool:
    """Whether sums of products are cut off here: the library itself is asked, by a product of four numbers."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(_PRODUCT, options, providers=["CPUExecutionProvider"])
    (made,) = session.run(None, {"x": np.full((1, 4), 255, np.uint8)})
    return int(made[0, 0]) != 4 * 255 * 127
