"""`edgeflow export`: from a model to a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeflow.cli import endings
from edgeflow.cli.clips import first_frames, parse_size
from edgeflow.cli.console import err, out, print_json, progress_bar
from edgeflow.cli.expected import expect, print_expected
from edgeflow.cli.exported import Exported, on_clip, print_exported
from edgeflow.cli.reference import find_model
from edgeflow.export.pack.plain import ROUTES, check_plain_place, write_plain
from edgeflow.hosts.triton.repository import check_model_place, model_name, write_repository
from edgeflow.ir.bundle import Bundle, open_bundle
from edgeflow.ir.bundle.replacing import check_replaceable
from edgeflow.ir.errors import BundleError, ExportError
from edgeflow.ir.installing import with_extras
from edgeflow.ir.libraries import library
from edgeflow.targets import Target, load

if TYPE_CHECKING:
    from edgeflow.flow.module import RoutedModule

MIX_CALLS = 16
"""Calls of the clip whose routes are counted."""
MOST_FRAMES = 128
"""Frames of the clip that are read, however many a call takes."""

MEASURED = ("int8", "bf16")
"""Precisions whose engines are chosen by what they make of golden vectors."""


class Operators(str, Enum):
    """Forms of operators that have plugins."""

    native = "native"
    standard = "standard"
    plugin = "plugin"


class Strategy(str, Enum):
    """How the model's calls become engines."""

    auto = "auto"
    chained = "chained"
    routes = "routes"


class Format(str, Enum):
    """What is written."""

    bundle = "bundle"
    onnx = "onnx"
    triton = "triton"


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="A family (`edgeflow train` lists them), or your own: path/to/file.py:build or package.module:build."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The bundle to write (a folder).")],
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="bundle, for edgeflow's runtime; onnx: plain ONNX files, one per route, and a manifest that says which runs when; "
            "or triton: a model in the repository OUTPUT of Triton Inference Server.",
        ),
    ] = Format.bundle,
    target: Annotated[
        str, typer.Option(help="What to compile for: a name from `edgeflow targets`, or a .toml file.")
    ] = "cpu",
    preset: Annotated[
        str | None,
        typer.Option(help="Size of a family's model; its own choice if not given."),
    ] = None,
    variant: Annotated[
        str | None,
        typer.Option(help="Variant of a family's model; its own choice if not given."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Weights (.safetensors). Built-in models bring their own where they exist."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="fp32, fp16, bf16 or int8 (needs --clip); `edgeflow targets` says which a target takes. The target's "
            "own if not given."
        ),
    ] = None,
    plan: Annotated[
        Strategy,
        typer.Option(
            help="chained: one engine per segment; routes: one engine per route; auto: the fastest between "
            "them, from engines timed here if there is a --clip; of plain ONNX files routes."
        ),
    ] = Strategy.auto,
    size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WIDTHxHEIGHT",
            help="Fix the frame size. Repeat for several; if not given any size, or the model's own.",
        ),
    ] = None,
    clip: Annotated[
        Path | None,
        typer.Option(
            help="A video of the kind the bundle will see: goes into the checks, its routes are counted, "
            "and int8 is calibrated with it."
        ),
    ] = None,
    operators: Annotated[
        Operators | None,
        typer.Option(
            help="How edgeflow's own operators (deformable convolution, AdaBD, cost volume) leave: native (around ONNX's "
            "DeformConv), standard (older operators alone), or plugin (TensorRT plugins). The target's own if not given."
        ),
    ] = None,
    memory_budget: Annotated[
        float | None,
        typer.Option(
            metavar="MB",
            min=1,
            help="What a frame's tensors may take, weights apart: if more, engines work in bands of rows, or calls run as one engine. If "
            "not given, half of the target's memory, as far as that can be held.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show the engines, their sizes and expected costs, and write nothing."
        ),
    ] = False,
    compare: Annotated[
        bool,
        typer.Option(
            "--check/--no-check",
            help="Compare every engine and whole frames with the model's own code, by the target's library where it runs "
            "here, and write no bundle that differs.",
        ),
    ] = True,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace a bundle although engines were built or costs measured in it."
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was made as JSON.")] = False,
) -> None:
    """Split a routed model into static engines and pack them in one bundle.

    An interrupted export goes on where it stopped when the same command is run again.

    Example: edgeflow export path/to/model.py:build --target cpu -o model.edgeflow
    """
    wanted = _target(target, precision, operators)
    sizes = [parse_size(text) for text in size or []]
    _check_output(output, None if dry_run else form, model, overwrite)
    compile_model = _compiler()
    built, reference = _model(model, preset, variant, weights)
    frames = _frames(clip, built, sizes) if clip else []
    start = perf_counter()
    with progress_bar() as bar, _place(output, dry_run or form is not Format.bundle) as written:
        task = bar.add_task("trace")
        with _interruptible():
            compiled = compile_model(
                built,
                wanted,
                written,
                reference=reference,
                strategy="routes" if form is Format.onnx and plan is Strategy.auto else plan.value,
                sizes=sizes,
                frames=frames,
                overwrite=overwrite,
                compare=compare,
                goldens=not dry_run or wanted.precision in MEASURED,
                memory=None if memory_budget is None else int(memory_budget * 1e6),
                progress=lambda what, done, total: bar.update(
                    task, description=what, completed=done, total=total
                ),
            )
        if dry_run:
            expected = expect(Bundle(written, compiled.manifest), wanted)
            print_json(expected.to_json()) if json else print_expected(expected)
            return
        if form is not Format.bundle:
            told, line = _in_form(form, open_bundle(written), output, model, overwrite)
            print_json({**told, "seconds": perf_counter() - start}) if json else out.print(line)
            return
    made = Exported(compiled, perf_counter() - start, on_clip(output, clip, frames))
    print_json(made.to_json()) if json else print_exported(made)


def _check_output(output: Path, form: Format | None, model: str, overwrite: bool) -> None:
    """Refuse a place that cannot be written, or holds what is to stay where something is written in a form."""
    if not output.absolute().parent.is_dir():
        raise BundleError(
            f"cannot write {output}: there is no folder {output.absolute().parent}; make it first"
        )
    match form:
        case Format.onnx:
            check_plain_place(output, overwrite)
        case Format.triton:
            check_model_place(output / model_name(model), overwrite)
        case Format.bundle:
            check_replaceable(output, overwrite)


def _model(
    model: str, preset: str | None, variant: str | None, weights: Path | None
) -> tuple[RoutedModule, dict[str, str]]:
    """The model with its weights, and how to build it again."""
    from edgeflow.models import family

    built = find_model(model, preset, variant)
    used = _load_weights(built, model, preset, variant, weights)
    reference = {"reference": model, "class": type(built).__name__, "weights": used}
    return built, reference if ":" in model else reference | family(model).options(preset, variant)


def _frames(clip: Path, model: RoutedModule, sizes: Sequence[tuple[int, int]]) -> list[Any]:
    """Frames of the clip, at the model's own size if it has one and no other was asked for."""
    from edgeflow.runtime.session import declared_size

    own = (model.size or declared_size(model.inputs)) if not sizes else None
    return first_frames(clip, _frames_wanted(model), (lambda height, width: own) if own else None)


def _in_form(
    form: Format, bundle: Bundle, output: Path, model: str, overwrite: bool
) -> tuple[dict[str, Any], str]:
    """Write what a bundle holds in another form; what was written, as data and in a line."""
    if form is Format.triton:
        place = write_repository(bundle, output, model_name(model), overwrite)
        return {"path": str(place)}, f"{place}: for tritonserver --model-repository {output}"
    files = write_plain(bundle, output)
    line = f"{output}: {ROUTES} says which of {len(files)} ONNX files runs when"
    return {"path": str(output), "files": files}, line


def _target(name: str, precision: str | None, operators: Operators | None) -> Target:
    """The target with what the options change of it."""
    wanted = load(name)
    if precision:
        wanted = wanted.at(precision)
    if operators:
        wanted = wanted.with_operators(operators.value)
    if not library(wanted.library).backend:
        raise ExportError(
            f"target {wanted.name} stays in PyTorch and has no bundle: run the model by "
            "edgeflow.export.torch_tensorrt.TorchTensorRt(model, folder), or export for desktop-gpu"
        )
    return wanted


@contextmanager
def _interruptible() -> Iterator[None]:
    """Say after Ctrl-C how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        endings.say(endings.GO_ON)
        raise typer.Exit(endings.code()) from None


@contextmanager
def _place(output: Path, dry_run: bool) -> Iterator[Path]:
    """Where the bundle is written: for a dry run, a folder that is gone afterwards."""
    if not dry_run:
        yield output
        return
    with TemporaryDirectory(prefix="edgeflow-") as folder:
        yield Path(folder) / output.name


def _frames_wanted(model: RoutedModule) -> int:
    """How many frames of a clip the export reads: enough for `MIX_CALLS` calls and one frame more."""
    from edgeflow.flow.tasks import task_of

    return max(MIX_CALLS + 1, min(task_of(model).frames_of(MIX_CALLS), MOST_FRAMES))


def _compiler() -> Any:
    try:
        from edgeflow.export.compile import compile_model
    except ImportError as error:
        raise ExportError(f"exporting needs {error.name}: {with_extras('export')}") from error
    return compile_model


def _load_weights(
    built: RoutedModule, model: str, preset: str | None, variant: str | None, weights: Path | None
) -> str:
    """Load weights into the model; says which."""
    from edgeflow.models import family
    from edgeflow.models.weights import load_weights

    if weights is None and ":" not in model:
        weights = family(model).weights(preset, variant)
        if weights is None:
            own = " ".join(family(model).options(preset, variant).values())
            err.print(f"edgeflow: {model} {own} comes without trained weights; these are random")
            return "random"
        load_weights(built, weights)
        return f"pretrained/{weights.name}"
    if weights is None:
        return "as built"
    load_weights(built, weights)
    return weights.name
