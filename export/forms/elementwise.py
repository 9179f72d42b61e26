"""Operators of one or two values at a place, and extremes of a whole tensor.

Torch.onnx's own forms of some of these hold for most values: not for an angle along an axis, a value far from zero, an exact multiple.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import frexp, log, pi
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


def hypot(input: Tensor, other: Tensor) -> Tensor:
    """The length of (x, y), without squares of large values."""
    large, small = torch.maximum(input.abs(), other.abs()), torch.minimum(input.abs(), other.abs())
    share = small / torch.where(large == 0, torch.ones_like(large), large)
    return large * (1 + share * share).sqrt()


def atan2(input: Tensor, other: Tensor) -> Any:
    """The angle of (other, input), along the axes too, where zeros have signs."""
    if not (input.is_floating_point() and other.is_floating_point()):
        return NotImplemented
    down, across = input.abs(), other.abs()
    large, small = torch.maximum(down, across), torch.minimum(down, across)
    share = torch.where(large == small, torch.ones_like(small), small / large)
    angle = torch.where(large == 0, torch.zeros_like(share), share).atan()
    angle = torch.where(down > across, pi / 2 - angle, angle)
    angle = torch.where(signbit(other), pi - angle, angle)
    angle = torch.where(signbit(input), -angle, angle)
    return torch.where(input.isnan() | other.isnan(), input + other, angle)


def signbit(input: Tensor) -> Any:
    """Whether a value is negative, or zero with a sign."""
    if not input.is_floating_point():
        return NotImplemented
    return (input < 0) | ((input == 0) & (1 / input < 0))


def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Whether two values differ by no more than is allowed; equal infinities do not."""
    near = ((input - other).abs() <= atol + rtol * other.abs()) & other.isfinite()
    near = near | (input == other)
    return near | (input.isnan() & other.isnan()) if equal_nan else near


def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """The logarithm of e^x + e^y, from the larger one on."""
    large, small = torch.maximum(input, other), torch.minimum(input, other)
    away = torch.where(large == small, torch.zeros_like(large), small - large)  # of equal infinities, too
    return large + away.exp().log1p()


def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """The same of powers of two."""
    return logaddexp(input * log(2), other * log(2)) / log(2)


def log_sigmoid(input: Tensor) -> Tensor:
    """The logarithm of a sigmoid, for values far from zero, too."""
    return input.clamp(max=0) - (-input.abs()).exp().log1p()


def logsumexp(input: Tensor, dim: Sequence[int], keepdim: bool = False) -> Any:
    """The logarithm of a sum of exponentials, also where all are zero."""
    if not input.dim():
        return NotImplemented
    largest = input.amax(list(dim), True)
    largest = torch.where(largest.isinf(), torch.zeros_like(largest), largest)
    total = (input - largest).exp().sum(list(dim), True).log() + largest
    return total if keepdim else total.squeeze(list(dim))


def remainder(input: Any, other: Any) -> Any:
    """What is left of a division, with the divisor's sign, exact where a quotient is nearly whole."""
    if not _floats(input, other) or _power_of_two(other):
        return NotImplemented
    left = torch.fmod(_tensor(input, other), other)
    return torch.where((left != 0) & ((left < 0) != (_tensor(other, input) < 0)), left + other, left)


def floor_divide(input: Any, other: Any) -> Any:
    """A quotient rounded down, as torch does it: of the input less what would be left."""
    if not _floats(input, other) or _power_of_two(other):
        return NotImplemented
    divisor = _tensor(other, input)
    left = torch.fmod(_tensor(input, other), other)
    quotient = (input - left) / divisor
    quotient = torch.where((left != 0) & ((left < 0) != (divisor < 0)), quotient - 1, quotient)
    whole = quotient.floor()
    whole = torch.where(quotient - whole > 0.5, whole + 1, whole)
    return torch.where(divisor == 0, input / divisor, whole)


def rounded_division(input: Any, other: Any, *, rounding_mode: str | None) -> Any:
    """A quotient rounded down; others stay as they are."""
    return floor_divide(input, other) if rounding_mode == "floor" else NotImplemented


def _floats(*values: Any) -> bool:
    return any(isinstance(v, Tensor) and v.is_floating_point() for v in values)


def _power_of_two(value: Any) -> bool:
    """Whether a division by it is exact."""
    return isinstance(value, int | float) and value != 0 and abs(frexp(value)[0]) == 0.5


def _tensor(value: Any, like: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.full_like(like, value)


def _refused(name: str) -> Callable[..., Any]:
    def refuse(*args: Any, **keywords: Any) -> Any:
        raise ValueError(f"{name} has no form that holds far from zero: write it in standard operators")

    return refuse


def _but_nan(choose: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Any]:
    def chosen(input: Tensor, other: Tensor) -> Tensor:
        made = choose(input, other)
        return torch.where(input.isnan(), other, torch.where(other.isnan(), input, made))

    return chosen


def _of_all(reduce: Callable[..., Tensor]) -> Callable[..., Any]:
    def reduced(input: Tensor, dim: Sequence[int] = (), keepdim: bool = False) -> Any:
        if dim or not input.dim():
            return NotImplemented
        return reduce(input, list(range(input.dim())), keepdim)

    return reduced


def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """The least and the greatest, of a dimension or of all."""
    dims = list(range(input.dim())) if dim is None else [dim]
    return input.amin(dims, keepdim), input.amax(dims, keepdim)


FORMS = {
    _aten.hypot.default: hypot,
    _aten.atan2.default: atan2,
    _aten.signbit.default: signbit,
    _aten.isclose.default: isclose,
    _aten.logaddexp.default: logaddexp,
    _aten.logaddexp2.default: logaddexp2,
    _aten.log_sigmoid.default: log_sigmoid,
    _aten.logsumexp.default: logsumexp,
    _aten.remainder.Scalar: remainder,
    _aten.remainder.Tensor: remainder,
    _aten.remainder.Scalar_Tensor: remainder,
    _aten.floor_divide.default: floor_divide,
    _aten.floor_divide.Scalar: floor_divide,
    _aten.div.Tensor_mode: rounded_division,
    _aten.div.Scalar_mode: rounded_division,
    _aten.special_log_ndtr.default: _refused("log_ndtr"),
    _aten.special_erfcx.default: _refused("erfcx"),
    _aten.fmax.default: _but_nan(torch.maximum),
    _aten.fmin.default: _but_nan(torch.minimum),
    _aten.aminmax.default: aminmax,
    _aten.amax.default: _of_all(torch.amax),
    _aten.amin.default: _of_all(torch.amin),
}
"""By operator."""
