"""Rewrites that pay for some shapes and libraries only: both forms are timed, and the faster one is taken."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx

from edgeflow.export.passes import run_passes
from edgeflow.ir.plan import Port
from edgeflow.runtime.backends import Backend
from edgeflow.runtime.device import measure

TRIED = ("fold-parallel-conv",)


def faster_form(
    graph: onnx.ModelProto, inputs: Sequence[Port], outputs: Sequence[Port], backend: Backend, where: str
) -> onnx.ModelProto:
    """A lowered segment as it is, or rewritten where that was timed to be faster.

    Args:
        graph: of the segment.
        inputs: what it reads, in order, all dimensions known.
        outputs: what it makes, in order.
        backend: times both.
        where: the segment, for messages.
    """
    rewritten = run_passes(graph, TRIED, where)
    if rewritten is graph:
        return graph
    given = [replace(port, tensor=f"in.{i}") for i, port in enumerate(inputs)]
    made = [replace(port, tensor=f"out.{i}") for i, port in enumerate(outputs)]
    return min((graph, rewritten), key=lambda form: time_graph(form, given, made, backend))


def time_graph(
    graph: onnx.ModelProto, inputs: Sequence[Port], outputs: Sequence[Port], backend: Backend
) -> float:
    """Milliseconds of a run for one region."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "segment.onnx"
        path.write_bytes(graph.SerializeToString())
        engine = backend.load(path, inputs, outputs, {})
        return measure(engine, inputs, outputs, [1])[1]
