"""Which engines may run as a native kernel: those of one segment that is exactly an operator with one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeflow.export.drafts import Link
from edgeflow.flow.module import RoutedModule, find_segment
from edgeflow.ops.adabd import AdaBD


@dataclass(frozen=True)
class KernelDraft:
    """A kernel before its constants lie in a weight file.

    Attributes:
        name: as `edgeflow.runtime.kernels` knows it.
        constants: float32, by name.
    """

    name: str
    constants: Mapping[str, NDArray[np.float32]]


def kernel_of(model: RoutedModule, links: Sequence[Link]) -> KernelDraft | None:
    """The kernel that can run a stage of these calls in place of its graph, if one can."""
    if len(links) != 1:
        return None
    call = links[0].call
    segment = find_segment(model, call.segment)
    if not isinstance(segment, AdaBD) or len(set(call.inputs)) < len(call.inputs):
        return None  # a stage reads a value once, whatever its calls do
    return KernelDraft("adabd", {"weight": segment.weight.detach().cpu().float().contiguous().numpy()})
