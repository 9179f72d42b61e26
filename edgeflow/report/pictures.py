"""The pictures of a report, drawn by matplotlib: colours are names that the page fills in, so that light and dark are one picture."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeflow.ir.errors import InputError
from edgeflow.ir.files import write_atomically
from edgeflow.ir.installing import with_extras
from edgeflow.ir.plan.route_shares import in_words
from edgeflow.runtime.measure.profile import ClipProfile, ProfileReport
from edgeflow.runtime.measure.waterfall import Waterfall

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, PAPER, FAINT = "#123456", "#fedcba", "#778899"
"""What text and lines, the background and grids are drawn in, to be replaced by the page's own."""
FULL, ROUTED, LOSS, GAIN = "#6f7f95", "#2f81c7", "#d9822b", "#3a9a5b"
ROUTES = ("#3b7dd8", "#e08a2e", "#41a35d", "#b65fc2", "#c94a4a", "#8a6d4b", "#d4b52a", "#4db6ac")
"""Colours of routes, the commonest first; the last stands for all others."""

WIDTH = 5.6
"""Inches across: half of the page, so that text is as large as the page's."""

Draw = Callable[["Figure"], None]


def drawn(report: ProfileReport) -> dict[str, Figure]:
    """Every picture by its name.

    Args:
        report: with a clip.
    """
    assert report.clip is not None
    figures = {
        "times": _figure(2.8, lambda figure: _times(figure, report)),
        "distribution": _figure(2.8, lambda figure: _distribution(figure, report.clip)),
        "engines": _figure(0.9 + 0.28 * len(_stages(report)), lambda figure: _engines(figure, report)),
    }
    if len(colours(report)) > 1:
        figures["routes"] = _figure(2.8, lambda figure: _routes(figure, report))
    if report.waterfall:
        figures["waterfall"] = _figure(4.1, lambda figure: _waterfall(figure, report.waterfall))
    return figures


def check_drawing() -> None:
    """Refuse, before any work, to draw without what draws.

    Raises:
        InputError: names the extra.
    """
    if missing := [name for name in ("matplotlib", "jinja2") if find_spec(name) is None]:
        raise InputError(f"a report needs {' and '.join(missing)}: {with_extras('report')}")


def colours(report: ProfileReport) -> dict[str, str]:
    """The colour of every route of the clip, the commonest first."""
    taken = Counter(in_words(region.route) for trace in report.calls for region in trace.regions)
    return {name: ROUTES[min(place, len(ROUTES) - 1)] for place, (name, _) in enumerate(taken.most_common())}


def svg(figure: Figure) -> str:
    """A figure as an SVG element that takes the page's colours and width."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "edgeflow"}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    body = text.getvalue()
    body = body[body.index("<svg") :]
    body = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>',
        r'<svg viewBox="\1" role="img" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">',
        body,
        count=1,
    )
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    for colour, name in ((INK, "var(--ink)"), (PAPER, "var(--paper)"), (FAINT, "var(--faint)")):
        body = body.replace(colour, name)
    return body


def _figure(height: float, draw: Draw) -> Figure:
    """A figure of so many inches."""
    import matplotlib
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": FAINT,
        "xtick.color": INK,
        "ytick.color": INK,
        "grid.color": FAINT,
        "grid.alpha": 0.35,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 9,
        "font.family": "sans-serif",
        "legend.frameon": False,
        "axes.titlesize": 10,
        "figure.facecolor": "white",
        "axes.facecolor": "none",
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure)
    return figure


def _times(figure: Figure, report: ProfileReport) -> None:
    """Milliseconds of every call, routed and full."""
    clip = report.clip
    assert clip is not None
    axes = figure.subplots()
    for latency, colour, label in (
        (clip.full_latency, FULL, "full static model"),
        (clip.latency, ROUTED, "routed"),
    ):
        axes.plot(latency.samples_ms, color=colour, label=label, linewidth=1.4, marker="o", markersize=2.5)
    axes.set_xlabel("call")
    axes.set_ylabel("ms")
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, max(clip.latency.runs - 1, 1))
    _legend(axes, 2)


def _distribution(figure: Figure, clip: ClipProfile | None) -> None:
    """How many calls took how long, with percentiles."""
    assert clip is not None
    axes = figure.subplots()
    both = (*clip.full_latency.samples_ms, *clip.latency.samples_ms)
    bins = np.linspace(0, max(both) * 1.02, 48)
    axes.hist(clip.full_latency.samples_ms, bins.tolist(), color=FULL, alpha=0.55, label="full static model")
    axes.hist(clip.latency.samples_ms, bins.tolist(), color=ROUTED, alpha=0.85, label="routed")
    marks = {"median": clip.latency.median_ms, "p95": clip.latency.p95_ms, "p99": clip.latency.p99_ms}
    for style, (name, ms) in zip(("-", "--", ":"), marks.items(), strict=True):
        axes.axvline(ms, color=INK, linewidth=1.1, linestyle=style, label=f"{name} {ms:.1f} ms")
    axes.set_xlabel("ms")
    axes.set_ylabel("calls")
    axes.set_xlim(left=0)
    _legend(axes, 3)


def _routes(figure: Figure, report: ProfileReport) -> None:
    """The share of the frame's area that took each route, call by call."""
    of = colours(report)
    counts = np.zeros((len(of), len(report.calls)))
    rows = {name: place for place, name in enumerate(of)}
    for call, trace in enumerate(report.calls):
        for region in trace.regions:
            area = (region.bottom - region.top) * (region.right - region.left)
            counts[rows[in_words(region.route)], call] += area
    shares = 100 * counts / counts.sum(0)
    axes = figure.subplots()
    shown = [
        (name, place) for name, place in rows.items() if place < len(ROUTES) - 1 or len(of) == len(ROUTES)
    ]
    stack = [shares[place] for _, place in shown]
    labels, palette = [name for name, _ in shown], [of[name] for name, _ in shown]
    if len(shown) < len(of):
        stack.append(shares[len(shown) :].sum(0))
        labels.append(f"{len(of) - len(shown)} others")
        palette.append(ROUTES[-1])
    axes.stackplot(range(len(report.calls)), stack, labels=labels, colors=palette, linewidth=0, step="mid")
    axes.set_xlabel("call")
    axes.set_ylabel("% of the frame")
    axes.set_ylim(0, 100)
    axes.set_xlim(0, max(len(report.calls) - 1, 1))
    _legend(axes, 3)


def _stages(report: ProfileReport) -> Mapping[str, float]:
    """Milliseconds a call by stage, the longest last, and what lies between engines."""
    assert report.clip is not None
    return dict(
        sorted(
            {**report.clip.stages_ms, "between engines": report.clip.host_ms}.items(), key=lambda one: one[1]
        )
    )


def _engines(figure: Figure, report: ProfileReport) -> None:
    """Milliseconds a call by stage."""
    stages = _stages(report)
    axes = figure.subplots()
    bars = axes.barh(range(len(stages)), list(stages.values()), color=ROUTED, height=0.62)
    axes.set_yticks(range(len(stages)), [_short(name) for name in stages])
    axes.bar_label(bars, fmt="%.2f", padding=3, color=INK, fontsize=8)
    axes.set_xlabel("ms a call")
    axes.margins(x=0.12)
    axes.grid(axis="y", visible=False)


def _waterfall(figure: Figure, waterfall: Waterfall | None) -> None:
    """From what the routed FLOPs ask for, at the full model's rate, to what was measured."""
    assert waterfall is not None
    axes = figure.subplots()
    names = ["full static model", *(step.name for step in waterfall.steps), "routed, measured"]
    total, at = waterfall.routed_cost.spent.total, 0.0
    axes.barh(0, waterfall.full_cost.spent.total, color=FULL, height=0.66)
    axes.text(
        waterfall.full_cost.spent.total,
        0,
        f"  {waterfall.full_cost.spent.total:.1f}",
        va="center",
        fontsize=8,
    )
    for row, step in enumerate(waterfall.steps, start=1):
        colour = ROUTED if "FLOPs" in step.name else LOSS if step.ms >= 0 else GAIN
        axes.barh(row, step.ms, left=at, color=colour, height=0.66)
        axes.text(max(at, at + step.ms), row, f"  {step.ms:+.1f}", va="center", fontsize=8)
        at += step.ms
    axes.barh(len(names) - 1, total, color=ROUTED, height=0.66)
    axes.text(total, len(names) - 1, f"  {total:.1f}", va="center", fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("ms")
    axes.margins(x=0.1)
    axes.grid(axis="y", visible=False)


def _legend(axes: Any, columns: int) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=columns,
        borderaxespad=0.2,
        fontsize=8,
        handlelength=1.4,
    )


def _short(name: str) -> str:
    return name if len(name) <= 34 else f"{name[:31]}..."


def write(figures: Mapping[str, Figure], folder: Path) -> None:
    """Write every picture as PNG and SVG into a folder, on white."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        for kind in ("png", "svg"):
            data = io.BytesIO()
            figure.savefig(data, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)
            write_atomically(folder / f"{name}.{kind}", data.getvalue())
