"""Leaves modules as they were: what forward hooks set, as weight_norm's does with its weight, is no shape or symbol afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def unchanged(module: nn.Module) -> Iterator[None]:
    """Tensors that modules hold as plain attributes are the same after the block as before it."""
    held = [
        (vars(part), {name: value for name, value in vars(part).items() if isinstance(value, torch.Tensor)})
        for part in module.modules()
    ]
    try:
        yield
    finally:
        for attributes, before in held:
            for name in [name for name, value in attributes.items() if isinstance(value, torch.Tensor)]:
                if name not in before:
                    del attributes[name]
            attributes.update(before)
