"""`edgeflow inspect --redundancy`: how alike the feature maps of a bundle's model are on a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from edgeflow.cli.clips import first_frames
from edgeflow.cli.console import err, out, print_json
from edgeflow.cli.drawing import new_figure, store
from edgeflow.cli.reference import find_model
from edgeflow.ir.bundle import Bundle
from edgeflow.ir.errors import InputError
from edgeflow.ir.film import calls_of

if TYPE_CHECKING:
    from edgeflow.flow.module import RoutedModule
    from edgeflow.training.redundancy import LayerRedundancy

CALLS = 4
"""Calls of the clip that are looked at."""


def print_redundancy(
    bundle: Bundle, clip: Path, weights: Path | None, picture: Path | None, json: bool, trust: bool
) -> None:
    """Measure, print, and draw if asked to.

    Raises:
        InputError: the bundle's weights are not at hand, or the clip is too short.
    """
    from edgeflow.flow.tensors import to_tensor
    from edgeflow.runtime.session import fitting_size
    from edgeflow.training.redundancy import over_layers, redundancy

    manifest = bundle.manifest
    frames = first_frames(clip, manifest.task.frames_of(CALLS), partial(fitting_size, manifest.plans))
    calls = [tuple(map(to_tensor, call)) for call in calls_of(manifest.task, frames)][:CALLS]
    if not calls:
        raise InputError(
            f"{clip} has {len(frames)} frames, fewer than a call of this model takes: give a longer clip"
        )
    with err.status("compare feature maps"):
        layers = redundancy(_plain_model(bundle, weights, trust), calls)
    means = over_layers(layers)
    if picture:
        _draw(layers, picture)
    if json:
        mean = {axis: asdict(each) if each else None for axis, each in means.items()}
        print_json({"calls": len(calls), "layers": [asdict(layer) for layer in layers], "mean": mean})
        return
    table = Table(
        "layer",
        "axis",
        "correlation",
        "RMSE",
        "redundant",
        "same",
        title=f"feature maps of {len(calls)} calls",
    )
    for layer in layers:
        for axis, each in (("temporal", layer.temporal), ("channel", layer.channel)):
            if each:
                table.add_row(layer.layer, axis, *_numbers(each))
    table.add_section()
    for axis, each in means.items():
        if each:
            table.add_row("all, mean", axis, *_numbers(each))
    out.print(table)


def _numbers(each: Any) -> tuple[str, ...]:
    return f"{each.correlation:.2f}", f"{each.rmse:.3f}", f"{each.proportion:.0%}", f"{each.same:.0%}"


def _plain_model(bundle: Bundle, weights: Path | None, trust: bool) -> RoutedModule:
    """The bundle's model without routing, where its family has that."""
    from edgeflow.models import family
    from edgeflow.models.weights import load_weights

    made = bundle.manifest.model
    reference = str(made.get("reference", ""))
    if ":" in reference and not trust:
        raise InputError(
            f"the bundle says that its model is made by {reference}, which would be run: if that is yours, add --trust"
        )
    model = find_model(reference, made.get("preset"), made.get("variant"))
    packaged = "" if ":" in reference else str(made.get("weights"))
    if weights is not None:
        load_weights(model, weights)
    elif packaged.startswith("pretrained/"):
        load_weights(model, family(reference).weights(made.get("preset"), made.get("variant")))  # type: ignore[arg-type]
    elif made.get("weights") not in ("as built", "random"):
        raise InputError(
            f"the bundle was exported with the weights {made.get('weights')}: give that file with --weights"
        )
    static = None if ":" in reference else family(reference).full_static
    return static(model) if static else model


def _draw(layers: Sequence[LayerRedundancy], picture: Path) -> None:
    figure = new_figure(10, 6)
    parts = (("correlation", "correlation"), ("rmse", "RMSE"), ("proportion", "share that is redundant"))
    for axes, (name, title) in zip(figure.subplots(3, sharex=True), parts, strict=True):
        for kind in ("temporal", "channel"):
            values = [
                getattr(each, name) if (each := getattr(layer, kind)) else float("nan") for layer in layers
            ]
            axes.plot(range(len(layers)), values, marker="o", markersize=3, label=kind)
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
    axes.set_xticks(
        range(len(layers)), [layer.layer.split("network.")[-1] for layer in layers], rotation=90, fontsize=6
    )
    figure.axes[0].legend()
    store(figure, picture)
