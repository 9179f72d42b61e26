"""Transposed convolutions whose end is padded by a stride or more, or that are cut inside their kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from edgeflow.export.forms.padding import cut, laid
from edgeflow.export.forms.sizes import spread

_aten = torch.ops.aten
_TRANSPOSED = {
    1: _aten.conv_transpose1d.default,
    2: _aten.conv_transpose2d.input,
    3: _aten.conv_transpose3d.input,
}


def _transposed(axes: int) -> Callable[..., Any]:
    def transposed(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Sequence[int] = (1,),
        padding: Sequence[int] = (0,),
        output_padding: Sequence[int] = (0,),
        groups: int = 1,
        dilation: Sequence[int] = (1,),
    ) -> Any:
        """The whole of what is made, cut or padded at its sides; then the bias."""
        strides, pads, ends, dilations = (
            spread(x, axes) for x in (stride, padding, output_padding, dilation)
        )
        reach = [d * (k - 1) for d, k in zip(dilations, weight.shape[2:], strict=True)]
        sides = [(-p, e - p) for p, e in zip(pads, ends, strict=True)]
        if all(p <= r and e < s for p, r, e, s in zip(pads, reach, ends, strides, strict=True)):
            return NotImplemented
        whole = _TRANSPOSED[axes](input, weight, None, strides, [0] * axes, [0] * axes, groups, dilations)
        around = [side for pair in reversed(sides) for side in pair]
        made = cut(_aten.constant_pad_nd.default(whole, [laid(side) for side in around]), around)
        return made if bias is None else made + bias.reshape(-1, *[1] * axes)

    return transposed


FORMS = {overload: _transposed(axes) for axes, overload in _TRANSPOSED.items()}
"""By operator."""
