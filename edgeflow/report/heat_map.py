"""Frames of the clip with what every region took: what the page's slider goes through."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeflow.ir.plan.route_shares import in_words
from edgeflow.runtime.measure.profile import ProfileReport
from edgeflow.runtime.stream.trace import Trace

FRAMES = 24
"""Frames that a page shows, evenly spaced: each is some 40 KB."""
WIDTH = 720
"""Pixels across, at most."""


def heat_map(
    report: ProfileReport, calls: Sequence[Sequence[Any]], colours: Mapping[str, str]
) -> dict[str, Any]:
    """Plain data: frames as JPEG, the routes by place, and per frame what every region took.

    Args:
        report: with a clip.
        calls: inputs of the report's calls, in order; images (h, w, 3) or clips (t, h, w, 3), uint8.
        colours: of every route.
    """
    places = {name: place for place, name in enumerate(colours)}
    most = max((region.flops for trace in report.calls for region in trace.regions), default=1)
    frames = [
        _frame(number, report.calls[number], _picture(calls[number]), places, most)
        for number in np.unique(np.linspace(0, len(report.calls) - 1, FRAMES).astype(int)).tolist()
    ]
    routes = [{"name": name or "no decisions", "colour": colour} for name, colour in colours.items()]
    return {"frames": frames, "routes": routes}


def _frame(
    number: int, trace: Trace, picture: NDArray[np.uint8], places: Mapping[str, int], most: int
) -> dict[str, Any]:
    """One frame: left, top, width and height of every region, its route's place, and its work over the most there is."""
    height, width = picture.shape[:2]
    regions = [
        [
            r.left,
            r.top,
            r.right - r.left,
            r.bottom - r.top,
            places[in_words(r.route)],
            round(r.flops / max(most, 1), 4),
        ]
        for r in trace.regions
    ]
    return {
        "call": number,
        "ms": round(trace.total_ms, 2),
        "gflop": round(trace.flops / 1e9, 2),
        "width": width,
        "height": height,
        "jpeg": _jpeg(picture),
        "regions": regions,
    }


def _picture(call: Sequence[Any]) -> NDArray[np.uint8]:
    """The frame that stands for a call: its first image, or the middle of its clip."""
    array: NDArray[np.uint8] = call[0]
    return array[len(array) // 2] if array.ndim == 4 else array


def _jpeg(picture: NDArray[np.uint8]) -> str:
    image = Image.fromarray(picture)
    image.thumbnail((WIDTH, WIDTH))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=72)
    return b64encode(data.getvalue()).decode()
