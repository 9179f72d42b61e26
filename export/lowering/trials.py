"""Rewrites that pay for some shapes and libraries only: both forms are timed, and the faster one is taken."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx

from edgeflow.export.passes import run_passes
from edgeflow.export.weights import save_graph
from edgeflow.ir.plan import Port
from edgeflow.runtime.backends import Backend
from edgeflow.runtime.device import measure

TRIED = {"fp32": ("fold-parallel-conv",), "int8": ("dense-groups",)}
"""By precision: of segments before anything else is done to them, and of quantised engines."""

CLEARLY = 0.95
"""Share of a form's time that another one may take at most to replace it."""


def faster_form(
    graph: onnx.ModelProto,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    backend: Backend,
    where: str,
    precision: str = "fp32",
) -> onnx.ModelProto:
    """A graph as it is, or rewritten where that was timed to be clearly faster.

    Args:
        graph: a lowered segment, or a quantised engine.
        inputs: what it reads, in order, all dimensions known.
        outputs: what it makes, in order, all dimensions known.
        backend: times both forms.
        where: the segment or engine, for messages.
        precision: of the graph.
    """
    rewritten = run_passes(graph, TRIED[precision], where)
    if rewritten is graph:
        return graph
    before, after = (time_graph(form, inputs, outputs, backend, precision) for form in (graph, rewritten))
    return rewritten if after < CLEARLY * before else graph


def time_graph(
    graph: onnx.ModelProto, inputs: Sequence[Port], outputs: Sequence[Port], backend: Backend, precision: str
) -> float:
    """Milliseconds of a run for one region."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        save_graph(graph, path)
        engine = backend.load(path, inputs, outputs, {}, precision)
        return measure(engine, backend.memory, inputs, outputs, [1])[1]
