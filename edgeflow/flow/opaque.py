"""What a flow's values are to its author: names, not tensors."""

from __future__ import annotations

from typing import Any, NoReturn

from edgeflow.ir.errors import FlowError


class Opaque:
    """A value of a flow. Whoever computes with one is told where computing belongs."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> NoReturn:
        raise FlowError(_ADVICE.format(what=f"{getattr(func, '__name__', func)}() was called on one"))

    def _compute(self, *others: object) -> NoReturn:
        raise FlowError(_ADVICE.format(what="one was computed with, compared or indexed"))

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _compute
    __matmul__ = __rmatmul__ = __pow__ = __neg__ = __abs__ = __getitem__ = _compute
    __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __len__ = __float__ = __int__ = _compute

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise FlowError(_ADVICE.format(what=f".{name} was asked of one"))


_ADVICE = (
    "a flow handles names, not tensors, and {what}: put what computes into a method (or a module) of the model, and "
    "run it by f.call(self.method, value)"
)
