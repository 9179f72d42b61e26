"""Keeps torch's remarks about itself from the user: what goes wrong is said once, in our words."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_TALKERS = (
    "torch.onnx",
    "torch.export",
    "torch.fx",
    "torch._dynamo",
    "torch._subclasses",
    "torch._subclasses.fake_tensor",
    "torch.fx.experimental.symbolic_shapes",
    "onnxscript",
    "onnx_ir",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence torch and its exporter while the block runs."""
    levels = {name: logging.getLogger(name).level for name in _TALKERS}
    for name in _TALKERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
