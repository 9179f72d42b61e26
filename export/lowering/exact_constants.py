"""Lets onnxscript take a constant for zero or one only where it is.

Its rules that drop `x + 0` and `x * 1` take any constant within 1e-8 and 1e-5 of these for one: an epsilon of 1e-8 that keeps a
division from being by zero would be gone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from onnxscript.rewriter import _matcher

_ROUNDING = 1e-7
"""By how much a constant may be off as a float32: a sixth in a hard swish."""


class _Exact:
    """The module `math`, whose `isclose` allows for the rounding of float32 alone."""

    def __getattr__(self, name: str) -> Any:
        return getattr(math, name)

    @staticmethod
    def isclose(one: float, other: float, *, rel_tol: float, abs_tol: float) -> bool:
        """Whether two constants are one."""
        return math.isclose(one, other, rel_tol=min(rel_tol, _ROUNDING))


@contextmanager
def exact_constants() -> Iterator[None]:
    """Within it, rewrites match constants as they are."""
    setattr(_matcher, "math", _Exact())  # noqa: B010
    try:
        yield
    finally:
        setattr(_matcher, "math", math)  # noqa: B010
