"""Attention without a dimension of heads, or of frames, as attention with one of each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """`F.scaled_dot_product_attention` of any number of dimensions."""
    lead = query.shape[:-2]
    if len(lead) == 2 or dropout_p:
        return NotImplemented
    operands = [x.reshape(1, -1, *x.shape[-2:]) for x in (query, key, value)]
    if attn_mask is not None and attn_mask.dim() > 2:
        attn_mask = attn_mask.expand(*lead, *attn_mask.shape[-2:]).reshape(1, -1, *attn_mask.shape[-2:])
    made = _aten.scaled_dot_product_attention.default(
        *operands, attn_mask, 0.0, is_causal, scale=scale, enable_gqa=enable_gqa
    )
    return made.reshape(*lead, *made.shape[-2:])


FORMS = {_aten.scaled_dot_product_attention.default: attention}
"""By operator."""
