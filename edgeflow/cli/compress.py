"""`edgeflow compress`: make a small network of a large one, and let it learn from that."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from edgeflow.cli.console import err, out, print_json
from edgeflow.cli.drawing import check_drawing, new_figure, store
from edgeflow.cli.reference import build_by, find_function
from edgeflow.cli.reports import check_reports
from edgeflow.ir.errors import FlowError, TrainError

if TYPE_CHECKING:
    from torch import nn

    from edgeflow.training.compression.compress import Report
    from edgeflow.training.compression.learning import Batch

ROW = 64
"""Layers side by side in a picture."""
RUNS = 15
"""Runs, of which the median is the time on a target."""


def compress(
    model: Annotated[
        str, typer.Argument(help="What builds the network: path/to/file.py:build or package.module:build.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="The weights to write (.safetensors); a report lies beside, as .json."
        ),
    ],
    batches: Annotated[
        str | None,
        typer.Option(
            help="A function that yields what to learn from, (inputs, target) for ever; `batches` beside the builder if not given."
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights of the network (.safetensors).")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the phase that makes weights zero.")] = 1000,
    distil_steps: Annotated[int, typer.Option(min=0, help="Steps in which the small network learns.")] = 1000,
    rate: Annotated[float, typer.Option(min=0, help="Learning rate of both phases.")] = 1e-3,
    sparsity: Annotated[
        float,
        typer.Option(
            min=0,
            help="Weight of the l1 norm. A weight can lose rate * sparsity a step, so few steps want more than the paper's 1e-4.",
        ),
    ] = 1e-4,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="A layer, or a module that holds some, that keeps its widths, and whose weights are not made zero. Repeatable."
        ),
    ] = None,
    drop_below: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Components of a lower density are removed, where the network can be without them.",
        ),
    ] = 0.02,
    target: Annotated[
        str, typer.Option(help="Where both networks are timed; see `edgeflow targets`.")
    ] = "cpu",
    plot: Annotated[
        Path | None, typer.Option(help="Draw densities and widths, layer by layer, into this picture.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
) -> None:
    """Compress a network: weights become zero, layers as small as that leaves them, and the small network learns from the large one.

    `edgeflow.models.rebuilt.rebuilt(build(), weights)` gives the small network again.
    """
    import torch

    from edgeflow.models.weights import write_weights
    from edgeflow.training.compression.compress import Plan, measured
    from edgeflow.training.compression.compress import compress as make
    from edgeflow.training.compression.learning import Pace

    if output.suffix != ".safetensors":
        raise TrainError(f"-o {output} is the file of the weights: let its name end in .safetensors")
    output.parent.mkdir(parents=True, exist_ok=True)
    check_reports(overwrite, output, output.with_suffix(".json"))
    check_drawing(overwrite, plot)
    torch.manual_seed(seed)
    network = _network(model, weights)
    drawn = _batches(batches or f"{model.rpartition(':')[0]}:batches")
    with err.status("compress") as status:

        def report(step: int, loss: float) -> None:
            status.update(f"{phase[0]}: step {step + 1}, loss {loss:.4f}")

        phase = [""]
        plan = Plan(
            Pace(steps, rate, report),
            Pace(distil_steps, rate, report),
            sparsity,
            tuple(keep or ()),
            drop_below,
        )
        made = make(network, drawn, plan, lambda name: phase.__setitem__(0, name))
        status.update("time")
        inputs = tuple(each[:1] for each in next(drawn)[0])
        told = measured(made.report, *_ms((network, made.module), inputs, target))
    write_weights(made.module, output, {"compressed": model, "steps": str(distil_steps)}, half=False)
    _write_report(output.with_suffix(".json"), told)
    if plot:
        _draw(told, plot)
    if json:
        print_json(asdict(told))
    else:
        _print(told, output)


def _network(reference: str, weights: Path | None) -> nn.Module:
    """The network to compress, in eval mode.

    Raises:
        FlowError: there is none of that name, or it is no module.
        TrainError: weights that do not fit.
    """
    from torch import nn

    from edgeflow.models.weights import load_weights

    built: Any = build_by(reference)
    if not isinstance(built, nn.Module):
        raise FlowError(f"{reference} returns a {type(built).__name__}: it must return a torch.nn.Module")
    if weights is not None:
        load_weights(built, weights)
    return built.eval()


def _batches(reference: str) -> Iterator[Batch]:
    """What to learn from, inputs always as a tuple.

    Raises:
        FlowError: there is no such function.
        TrainError: it ends, or gives something else than (inputs, target).
    """
    for batch in find_function(reference)():
        if not (isinstance(batch, tuple) and len(batch) == 2):
            raise TrainError(f"{reference} gives a {type(batch).__name__}: let it yield (inputs, target)")
        inputs, target = batch
        yield (tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)), target
    raise TrainError(f"{reference} ends: let it yield batches for ever")


def _ms(networks: Sequence[nn.Module], inputs: Sequence[Any], target: str) -> list[float]:
    """Median milliseconds of a run of each network on a target's engine library, here, in turn: a machine has slow minutes."""
    from edgeflow.export.compile import compile_model
    from edgeflow.runtime import Session
    from edgeflow.targets import load
    from edgeflow.training.compression.whole import Whole

    with TemporaryDirectory() as folder:
        sessions = []
        for number, network in enumerate(networks):
            bundle = Path(folder) / f"{number}.edgeflow"
            compile_model(Whole(network, inputs).eval(), load(target), bundle, reference={}, compare=False)
            sessions.append(Session(bundle))
        arrays = [each[0].numpy() for each in inputs]
        times: list[list[float]] = [[] for _ in sessions]
        for _ in range(RUNS):
            for session, own in zip(sessions, times, strict=True):
                began = time.perf_counter()
                session.run(*arrays)
                own.append((time.perf_counter() - began) * 1e3)
    return [median(own) for own in times]


def _write_report(path: Path, report: Report) -> None:
    from json import dumps

    partial = path.with_suffix(".partial")
    partial.write_text(dumps(asdict(report), indent=1) + "\n")
    partial.replace(path)


def _print(report: Report, output: Path) -> None:
    table = Table("layer", "density", "before", "after", title="layers")
    for layer in report.layers:
        after = "removed" if layer.after is None else "x".join(map(str, layer.after))
        table.add_row(layer.name, f"{layer.density:.3f}", "x".join(map(str, layer.before)), after)
    out.print(table)
    for layer in report.layers:
        if layer.left and layer.left != "it is kept":
            out.print(f"not made smaller: {layer.name}: {layer.left}")
    for name in report.dropped:
        out.print(f"removed: {name}, of which {report.components[name]:.1%} was left")
    for name in report.sparse_but_there:
        out.print(
            f"{name} has {report.components[name]:.1%} of its weights left: give the network a method `without(name)` to remove it"
        )
    large, small = report.before, report.after
    out.print(f"parameters: {large.parameters:,} -> {small.parameters:,}")
    out.print(f"FLOPs: {large.flops:,} -> {small.flops:,}")
    out.print(f"ms: {large.ms or 0:.2f} -> {small.ms or 0:.2f}")
    out.print(f"density {report.density:.3f}; the small network's weights are in {output}")


def _draw(report: Report, picture: Path) -> None:
    """Densities, and output channels before and after."""
    rows = [report.layers[i : i + ROW] for i in range(0, len(report.layers), ROW)]
    figure = new_figure(12, 5 * len(rows))
    axes = figure.subplots(2 * len(rows), 1, squeeze=False)[:, 0]
    most = len(rows[0])
    for densities, widths, layers in zip(axes[::2], axes[1::2], rows, strict=True):
        places = range(len(layers))
        densities.bar(places, [layer.density for layer in layers])
        densities.set(ylabel="density", ylim=(0, 1), xlim=(-1, most), xticks=[])
        widths.plot(places, [_weights(layer.before) for layer in layers], ".-", label="before")
        widths.plot(places, [_weights(layer.after or ()) for layer in layers], ".-", label="after")
        widths.set(ylabel="weights", yscale="symlog", xlim=(-1, most))
        widths.set_xticks(places, [layer.name for layer in layers], rotation=90, fontsize=6)
    axes[1].legend()
    store(figure, picture)


def _weights(shape: tuple[int, ...]) -> int:
    from math import prod

    return prod(shape) if shape else 0
