"""The page itself: one HTML file that needs nothing else, and reads nothing from anywhere."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib import metadata, resources
from typing import Any

from edgeflow.ir.bundle import Bundle
from edgeflow.report.heat_map import heat_map
from edgeflow.report.pictures import colours, drawn, svg
from edgeflow.runtime.machine import in_words
from edgeflow.runtime.measure.profile import ProfileReport

CAPTIONS = {
    "routes": ("Routes over time", "Share of the frame's area that took each route, call by call."),
    "times": ("Time of every call", "The routed model and the full static one, run in turn, frame by frame."),
    "distribution": (
        "Frame times",
        "How many calls took how long; the marks are the routed model's percentiles.",
    ),
    "engines": ("Where a call's time goes", "Mean milliseconds by stage, and between engines."),
    "waterfall": (
        "From FLOPs to time",
        "Blue: what the routed frame's FLOPs would take at the full model's rate. Orange: what parts of it take beyond that; green: "
        "where they do better. All steps add up to the measured time.",
    ),
}
"""Title and caption of the pictures, in the order of the page."""


def page(report: ProfileReport, bundle: Bundle, clip: str, calls: Sequence[Sequence[Any]]) -> str:
    """The whole page as HTML.

    Args:
        report: with a clip.
        bundle: that was measured.
        clip: name of the video.
        calls: inputs of the report's calls, in order.

    """
    from jinja2 import Environment

    pictures = drawn(report)
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(
        resources.files("edgeflow.report").joinpath("page.html").read_text("utf-8")
    )
    figures = [
        {"name": name, "title": title, "caption": caption, "svg": svg(pictures[name])}
        for name, (title, caption) in CAPTIONS.items()
        if name in pictures
    ]
    return template.render(
        title=bundle.path.name,
        clip=clip,
        report=report,
        headline=_headline(report),
        advice=report.clip.advice if report.clip else (),
        about=_about(report, bundle),
        memory=_memory(report),
        figures=figures,
        data=heat_map(report, calls, colours(report)),
    )


def _headline(report: ProfileReport) -> list[tuple[str, str, str]]:
    """The numbers to see first: value, unit, what it is."""
    clip, fall = report.clip, report.waterfall
    assert clip is not None
    t, full = clip.latency, clip.full_latency
    saved = full.median_ms / t.median_ms
    cards = [
        (_figures(t.median_ms), "ms", f"median call; {1e3 / t.mean_ms:.1f} a second"),
        (_figures(t.p95_ms), "ms", f"95th percentile; 99th {_figures(t.p99_ms)} ms"),
        (_figures(full.median_ms), "ms", f"median call of the full static model: {clip.full}"),
        (_figures(saved), "x", "time saved" if saved >= 1 else "as fast as that: routing loses"),
        (_figures(clip.dearest_flops / clip.flops), "x", "FLOPs saved"),
    ]
    if fall:
        cards.append((f"{fall.realisation:.2f}", "", "realisation: time saved over FLOPs saved"))
    if report.energy:
        name, joules = max(report.energy.joules.items(), key=lambda item: item[1])
        cards.append((_figures(joules), "J", f"energy of a call, {name}"))
    return cards


def _figures(number: float) -> str:
    """A number to three figures or so."""
    return f"{number:.2f}" if number < 10 else f"{number:.1f}" if number < 100 else f"{number:.0f}"


def _about(report: ProfileReport, bundle: Bundle) -> list[tuple[str, str]]:
    """What it ran on, with what, and how."""
    clip, machine, model = report.clip, report.machine, bundle.manifest.model
    assert clip is not None
    packages = ("edgeflow", "numpy", "av")
    return [
        (
            "model",
            " ".join(str(model[name]) for name in ("reference", "preset", "variant") if model.get(name)),
        ),
        ("weights", str(model.get("weights", "as built"))),
        ("target", f"{bundle.manifest.target['name']}, {report.device.precision}"),
        ("engine library", f"{report.library} {report.version}, {report.device.threads} threads"),
        (
            "processor",
            f"{machine['cpu']}: {in_words(machine['instructions'])}; {machine['threads']} threads may be used",
        ),
        *([("device", report.device.name)] if report.device.name != machine["cpu"] else []),
        ("system", f"{machine['system']}, Python {platform.python_version()}"),
        ("versions", ", ".join(f"{name} {metadata.version(name)}" for name in packages)),
        ("frames", f"{clip.frames} calls at {clip.size[0]}x{clip.size[1]}"),
        ("full static model", clip.full),
        ("made", datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
        ("method", report.method),
    ]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size < 1e8 else f"{size / 1e6:.0f} MB"


def _memory(report: ProfileReport) -> list[tuple[str, str, str]]:
    """What takes memory: name, size, meaning."""
    memory = report.memory
    rows = [
        ("weights", _megabytes(memory.weights), "of the bundle, each once, on disk"),
        ("engines", _megabytes(memory.engines), "that the process grew by while it loaded them all"),
        ("tensors", _megabytes(memory.tensors), "of one frame between engines, by the plan"),
    ]
    if memory.peak:
        rows.append(
            (
                "peak",
                _megabytes(memory.peak),
                "of this process, the measured and the full model loaded side by side",
            )
        )
    return rows
