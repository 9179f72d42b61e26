"""`edgeflow inspect`: what is in a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from edgeflow.cli.console import megabytes, out, print_json
from edgeflow.cli.drawing import check_drawing
from edgeflow.cli.memory import frame_size, print_memory
from edgeflow.cli.remarks import print_remarks
from edgeflow.ir.bundle import WEIGHTS, Bundle, manifest_to_json, open_bundle
from edgeflow.ir.bundle.beside_static import all_beside
from edgeflow.ir.errors import InputError
from edgeflow.ir.plan import Plan, Stage
from edgeflow.ir.program import Keep, Route, Sample, Stitch, Tile
from edgeflow.ir.route import ALWAYS
from edgeflow.runtime.machine import in_words


def inspect(
    bundle: Annotated[Path, typer.Argument(help="The bundle to look into.")],
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what `--plan auto` decided, and from what.")
    ] = False,
    redundancy: Annotated[
        Path | None,
        typer.Option(metavar="CLIP", help="Show how alike the feature maps of its model are on this clip."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="For --redundancy: the weights that it was exported with, if not its family's."),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For --redundancy: draw it to this file (.png, .svg, .pdf)."),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="For --redundancy: run the code that the bundle names as its model's."),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the manifest, or the redundancy, as JSON.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
) -> None:
    """Show a bundle: model, target, the plan for each kind of frame, engines, FLOPs and sizes."""
    if redundancy is None and (weights or picture):
        raise InputError("--weights and --picture are for --redundancy CLIP: give that as well")
    check_drawing(overwrite, picture)
    opened = open_bundle(bundle)
    if redundancy:
        from edgeflow.cli.redundancy import print_redundancy

        print_redundancy(opened, redundancy, weights, picture, json, trust)
    elif json:
        print_json(manifest_to_json(opened.manifest))
    elif plan:
        _print_decisions(opened)
    else:
        _print(opened)


def _print(bundle: Bundle) -> None:
    manifest = bundle.manifest
    model = ", ".join(f"{k} {v}" for k, v in manifest.model.items())
    made = manifest.provenance
    target = manifest.target
    out.print(f"model   {model}", soft_wrap=not out.is_terminal)
    out.print(f"task    {manifest.task}", soft_wrap=not out.is_terminal)
    out.print(
        f"target  {target['name']}: {target['library']} >= {target['versions'][0]}, {target['precision']}",
    )
    out.print(
        f"made    {made['created']} by edgeflow {made['edgeflow']}, torch {made['torch']}, onnx {made['onnx']}, "
        f"on {in_words(made['instructions']) if 'instructions' in made else 'a processor it does not name'}",
        soft_wrap=not out.is_terminal,
    )
    print_remarks(manifest.graphs, "note    ")
    if plugins := sorted({name for graph in manifest.graphs.values() for name in graph.plugins}):
        out.print(f"plugins {', '.join(plugins)}", soft_wrap=not out.is_terminal)
    sizes = dict.fromkeys(("weights", "graphs", "golden"), 0)
    for name, entry in manifest.files.items():
        part = "weights" if name == WEIGHTS else name.split("/")[0]
        sizes[part] = sizes.get(part, 0) + entry.bytes
    out.print("size    " + ", ".join(f"{part} {megabytes(n)}" for part, n in sizes.items()))
    _print_beside(bundle)
    for kind, plan in manifest.plans.items():
        out.print(f"\nplan for {kind} frames: {plan.strategy}")
        _print_plan(bundle, plan)
        print_memory(bundle, plan, frame_size(kind, plan))


def _print_beside(bundle: Bundle) -> None:
    """What routing was worth where that was measured, beside the full static model."""
    if not any(plan.variables for plan in bundle.manifest.plans.values()):
        return
    known = all_beside(bundle.path)
    if not known:
        out.print(
            "static  the full static model was not run beside this bundle: `edgeflow profile --clip VIDEO` does",
            soft_wrap=not out.is_terminal,
        )
    for found in known:
        device, (width, height) = found.device, found.size
        out.print(
            f"static  {found.clip}, {width}x{height}, {device.name}, {device.threads} threads, {device.library} {device.version}: "
            f"{found.in_words}",
            soft_wrap=not out.is_terminal,
        )
        if found.loss:
            out.print(f"        {found.loss}", soft_wrap=not out.is_terminal)


def _print_decisions(bundle: Bundle) -> None:
    """What the planner chose for each kind of frame, beside the two extremes."""
    decisions = bundle.manifest.provenance.get("decisions", {})
    if not decisions:
        out.print(f"nothing was decided: the bundle was exported with --plan {_strategy(bundle)}")
    for kind, made in decisions.items():
        out.print(
            f"{kind} frames: for the routes of {made['routes']}, at prices from {made['prices']}",
            soft_wrap=not out.is_terminal,
        )
        for run in made["runs"]:
            table = Table("cuts", "stages start at", "ms a frame", "weights")
            starts = {"chained": run["calls"], "routes": run["calls"][:1], "chosen": run["stages_start_at"]}
            for way, segments in starts.items():
                weights = megabytes(run["weight_bytes"][way])
                table.add_row(way, ", ".join(segments), f"{run['ms'][way]:.2f}", weights)
            out.print(table)
            out.print(
                f"{run['engines_priced']} engines were priced; no cuts cost less, time and memory taken together"
            )


def _strategy(bundle: Bundle) -> str:
    return next(iter(bundle.manifest.plans.values())).strategy


def _print_plan(bundle: Bundle, plan: Plan) -> None:
    """The steps in order, a line each and one for every engine that a route may take; and the engines as a table."""
    engines = Table("engine", "precision", "MFLOP", "batches", "operators")
    engines.columns[0].overflow = "fold"
    for column in engines.columns[2:]:
        column.justify = "right"
    for step in plan.steps:
        if isinstance(step, Stage):
            always = len(step.graphs) == 1 and step.graphs[0].select == ALWAYS
            out.print(
                f"  {step.name}{f': {step.graphs[0].graph}' if always else ''}", soft_wrap=not out.is_terminal
            )
            for graph in step.graphs:
                if not always:
                    out.print(f"    {graph.graph} where {graph.select}", soft_wrap=not out.is_terminal)
                entry = bundle.manifest.graphs[graph.graph]
                operators = f"{entry.nodes}, or kernel {entry.kernel.name}" if entry.kernel else entry.nodes
                batches = ", ".join(map(str, graph.batches))
                engines.add_row(
                    graph.graph, entry.precision, f"{graph.flops / 1e6:.1f}", batches, str(operators)
                )
        else:
            out.print(f"  {_in_words(step)}", soft_wrap=not out.is_terminal)
    out.print(engines)


def _in_words(step: Tile | Route | Stitch | Keep | Sample) -> str:
    """A step that is no engine's."""
    match step:
        case Tile():
            return f"tile: {step.size} pixels, halo {step.halo}, on a grid of {step.multiple}"
        case Route():
            rules = ", ".join(
                f"{d.variable.name} {d.variable.axis.values} by {d.rule.kind}" for d in step.decisions
            )
            return f"route {step.regions}: {rules}"
        case Stitch():
            return "stitch"
        case Keep():
            return f"keep {step.state}{'' if step.when == ALWAYS else f' where {step.when}'}"
        case Sample():
            return f"sample {step.input} by {step.variable}"
