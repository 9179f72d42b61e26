"""How far a network sees, and which of its operators see the whole frame.

A pixel that is no number makes no number of everything that depends on it: what it reaches is the receptive field, whatever
the network is made of. An operator that turns a few such numbers into nothing but such numbers sees all of the frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.module_tracker import ModuleTracker

from edgeflow.wrap.form import Form, pictures, run

PROBES = (192, 512)
"""Sides of the frames that the field is looked for in, in pixels."""
PARTLY = 0.5
"""An operator that is given fewer of its numbers spoilt, and spoils all, sees the whole frame."""
NEAR = "aten.convolution"
"""It sees as far as its kernel, which is all that is left of a frame where a network shrinks it much."""


@dataclass(frozen=True)
class Reach:
    """How far a network sees.

    Attributes:
        pixels: of the frame on every side of a pixel that it depends on; None if that is all of a frame.
        everywhere: operators that see the whole frame, in order, each with the module that it stands in.
    """

    pixels: int | None
    everywhere: tuple[str, ...] = ()


def reach_of(network: nn.Module, form: Form) -> Reach:
    """Measure a network's receptive field.

    Args:
        network: in eval mode.
        form: what it takes and makes.
    """
    unit = form.unit
    for probe in PROBES:
        side = -(-probe // (2 * unit)) * 2 * unit + unit
        inputs = pictures(form.images, side, side)
        first, last = side // 2 // unit * unit, side // 2 // unit * unit + unit
        for each in inputs:
            each[..., first:last, first:last] = torch.nan
        with torch.no_grad(), _Spread() as spread:
            made = run(network, inputs)
        spoilt = made.isnan().any(1)[0]
        beyond = _beyond(spoilt, first, last, side)
        if beyond is not None or spread.everywhere:
            # A pixel may see farther to one side than its group does: to the group's other end.
            return Reach(
                None if spread.everywhere or beyond is None else beyond + unit - 1, tuple(spread.everywhere)
            )
    return Reach(None)


def _beyond(spoilt: Tensor, first: int, last: int, side: int) -> int | None:
    """How far what is spoilt, (h, w), reaches beyond a square of the frame; None if it reaches the frame's end."""
    rows, columns = (torch.nonzero(spoilt.any(d)).flatten() for d in (1, 0))
    if not len(rows):
        return 0
    scale = spoilt.shape[0] / side
    ends = [(int(each[0]) / scale, (int(each[-1]) + 1) / scale) for each in (rows, columns)]
    if min(low for low, _ in ends) <= 0 or max(high for _, high in ends) >= side:
        return None
    return max(max(int(first - low + 0.999), int(high - last + 0.999), 0) for low, high in ends)


class _Spread(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operators that make all of their numbers depend on some."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.everywhere: dict[str, None] = {}
        self._modules = ModuleTracker()

    def __enter__(self) -> _Spread:
        self._modules.__enter__()  # type: ignore[no-untyped-call]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        self._modules.__exit__(*raised)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        given = max((_spoilt(each) for each in args), default=0.0)
        if 0 < given < PARTLY and _spoilt(made) == 1 and not str(func).startswith(NEAR):
            self.everywhere[self._named(func)] = None
        return made

    def _named(self, func: Any) -> str:
        inner = max((name for name in self._modules.parents if name != "Global"), key=len, default="")
        _, _, place = inner.partition(".")
        operator = str(func).removeprefix("aten.").partition(".")[0].removeprefix("native_")
        return f"{operator} in {place}" if place else operator


def _spoilt(value: Any) -> float:
    """Share of a tensor's numbers that are none; of a tuple the largest."""
    if isinstance(value, tuple | list):
        return max((_spoilt(each) for each in value), default=0.0)
    if not isinstance(value, Tensor) or not value.is_floating_point() or not value.numel():
        return 0.0
    return float(value.isnan().float().mean())
