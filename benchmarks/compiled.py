"""The eager flow with every segment compiled by torch.compile, once per variant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from edgeflow.flow.eager import EagerFlow

_compiled: dict[Any, Callable[..., Any]] = {}


class CompiledFlow(EagerFlow):
    """Tiles of one route run as one batch, as in `EagerFlow`; only the segments are compiled."""

    def _call(self, segment: Any, *rest: Any) -> Any:
        return super()._call(_compile(segment), *rest)


def _compile(segment: Any) -> Callable[..., Any]:
    key = (id(getattr(segment, "__self__", segment)), getattr(segment, "__name__", ""))
    if key not in _compiled:
        _compiled[key] = _free_batch(torch.compile(segment))
    return _compiled[key]


def _free_batch(compiled: Callable[..., Any]) -> Callable[..., Any]:
    """Tell the compiler that only the batch varies, so that it compiles for one and for many tiles."""

    def run(*tensors: torch.Tensor, **choices: Any) -> Any:
        for tensor in tensors:
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
        return compiled(*tensors, **choices)

    return run


def settle() -> None:
    """Compiler settings: a variant per choice, no cache from earlier runs, every variant kept."""
    torch._dynamo.config.specialize_int = True
    torch._dynamo.config.automatic_dynamic_shapes = False
    torch._dynamo.config.recompile_limit = 256
    torch.compiler.config.force_disable_caches = True
