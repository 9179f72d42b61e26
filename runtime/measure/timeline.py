"""A call's timeline as Chrome trace events, which Perfetto and chrome://tracing open."""

from __future__ import annotations

from typing import Any

from edgeflow.runtime.stream.trace import Trace


def timeline(trace: Trace) -> dict[str, Any]:
    """One event for the frame and one per span inside it; gaps are Python. Times are in microseconds."""
    frame = _event("frame", "frame", 0.0, trace.total_ms)
    spans = [_event(span.name, span.kind, span.start_ms, span.ms) for span in trace.spans]
    return {"displayTimeUnit": "ms", "traceEvents": [frame, *spans]}


def _event(name: str, kind: str, start_ms: float, ms: float) -> dict[str, Any]:
    whole = {"ph": "X", "pid": 1, "tid": 1}  # a complete event: begin and duration in one
    return {"name": name, "cat": kind, "ts": start_ms * 1e3, "dur": ms * 1e3, **whole}
