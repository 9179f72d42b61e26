"""Which form a lowered segment takes, where forms pay for some shapes only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeflow.export.drafts import Link
from edgeflow.export.lowering.graphs import ChooseForm
from edgeflow.export.lowering.trials import faster_form
from edgeflow.export.planning.ports import planned_size, sized_ports
from edgeflow.ir.program import Program
from edgeflow.runtime.backends import Backend


def timed_forms(backend: Backend, frames: Sequence[NDArray[np.uint8]]) -> ChooseForm:
    """Times each form of a segment, and takes the fastest.

    Args:
        backend: the target's engine library.
        frames: of the clip; the size that is planned for follows them.
    """

    def choose(program: Program, part: Link, graph: onnx.ModelProto) -> onnx.ModelProto:
        port, values = sized_ports(program, planned_size(program, frames)), dict(part.variant)
        inputs = [replace(port(n, values), tensor=f"in.{i}") for i, n in enumerate(part.call.inputs)]
        outputs = [replace(port(n, values), tensor=f"out.{i}") for i, n in enumerate(part.call.outputs)]
        return faster_form(graph, inputs, outputs, backend, f"segment {part.call.segment}")

    return choose
