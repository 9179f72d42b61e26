"""An operator: a share of the channels is moved by one pixel in each direction, in plain torch under a name."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeflow.export.operators.descriptor import Operator
from edgeflow.ops.custom_op import composite_op


def channel_shift(x: Tensor, share: int) -> Tensor:
    """Move the first `c // share` channels of (n, c, h, w) in from the left, as many from the right; zeros at the border."""
    made: Tensor = torch.ops.edgeflow_own.channel_shift(x, share)
    return made


@composite_op("edgeflow_own::channel_shift")
def plain(x: Tensor, share: int) -> Tensor:
    """`channel_shift` in operators that every engine library has."""
    part = x.shape[1] // share
    left, right, rest = x[:, :part], x[:, part : 2 * part], x[:, 2 * part :]
    return torch.cat([F.pad(left, (1, 0))[..., :-1], F.pad(right, (0, 1))[..., 1:], rest], 1)


OPERATOR = Operator("edgeflow_own::channel_shift")
