"""Bags of embeddings: a matrix of what lies in which bag, times the embeddings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten
_SUM, _MEAN = 0, 1


def bags(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = _SUM,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    """Sums, means or maxima of embeddings; with them the bag of each, the bags' sizes and the maxima's places."""
    count = offsets.shape[0] - 1 if include_last_offset else offsets.shape[0]
    places = torch.arange(indices.shape[0], device=indices.device)
    bag = (places[None] >= offsets[:count, None]).sum(0) - 1
    inside = bag[None] == torch.arange(count, device=indices.device)[:, None]
    if padding_idx is not None and padding_idx != -1:
        inside = inside & (indices != padding_idx)[None]
    found = weight[indices]
    sizes = inside.sum(1)
    if mode in (_SUM, _MEAN):
        matrix = inside.to(weight.dtype)
        if per_sample_weights is not None:
            matrix = matrix * per_sample_weights[None]
        made = matrix @ found
        if mode == _MEAN:
            made = made / sizes.clamp(min=1)[:, None].to(weight.dtype)
        return made, bag, sizes, torch.zeros_like(sizes)
    lowest = torch.full_like(found, float("-inf"))
    spread = torch.where(inside[..., None], found[None], lowest[None])
    made = torch.where((sizes > 0)[:, None], spread.amax(1), torch.zeros_like(found[:1]))
    return made, bag, sizes, indices[spread.argmax(1)]


FORMS = {_aten.embedding_bag.padding_idx: bags}
"""By operator."""
