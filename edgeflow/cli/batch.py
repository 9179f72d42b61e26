"""`edgeflow batch`: many and long films, in pieces, by several workers."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edgeflow.cli.bundle_and_video import check_order
from edgeflow.cli.console import err, print_json, progress_bar
from edgeflow.cli.engine_options import Library
from edgeflow.cli.film_options import (
    Bitrate,
    Bits,
    CodecName,
    Crf,
    Deinterlace,
    FilmAsked,
    FilmFps,
    Fix,
    Overwrite,
    PolicyRules,
    QualityWeight,
    Spread,
    Strict,
    Times,
    parse_film,
)
from edgeflow.cli.film_task import PICTURES, check_task, digest, mask_style
from edgeflow.cli.films import begin_folder, say_outcome
from edgeflow.cli.steering import Asked, or_as_tuned, steered
from edgeflow.ir.bundle import Bundle, open_bundle
from edgeflow.ir.errors import EdgeflowError, InputError
from edgeflow.runtime.machine import usable_cores
from edgeflow.runtime.video.batch import Batch, Crew, Film
from edgeflow.runtime.video.films import Job, Ledger, Outcome, holds_films
from edgeflow.runtime.video.local_crew import LocalCrew
from edgeflow.runtime.video.making import SPAN, Maker, Recipe
from edgeflow.runtime.video.writing.span_parts import SpanParts

MOST = 4
"""Workers of this machine unless more are asked for: each holds the engines and their working memory."""


class Engine(str, Enum):
    """What spreads the work."""

    local = "local"
    ray = "ray"


def batch(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(help="The bundle to run.")],
    folder: Annotated[Path, typer.Argument(help="The folder of films to read, or one film.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder of films to write.")],
    engine: Annotated[
        Engine, typer.Option(help="Processes of this machine, or workers of a Ray cluster.")
    ] = Engine.local,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            help=f"How many: one a core, {MOST} at most, of this machine; what the cluster has room for with Ray.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads of each worker's engines: its share of the cores; 1 with Ray."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="With Ray: the cluster, such as 10.0.0.1:6379; $RAY_ADDRESS, or one begun here."),
    ] = None,
    times: Times = None,
    fps: FilmFps = None,
    spread: Spread = False,
    fix: Fix = None,
    policy: PolicyRules = None,
    quality: QualityWeight = None,
    library: Library = None,
    codec: CodecName = None,
    crf: Crf = None,
    bitrate: Bitrate = None,
    bits: Bits = "auto",
    deinterlace: Deinterlace = False,
    strict: Strict = False,
    overwrite: Overwrite = False,
    json: Annotated[bool, typer.Option("--json", help="Print what became of the films as JSON.")] = False,
) -> None:
    """Make films of many or long ones by several workers: each film is cut into pieces, which are joined when all are made.

    Example: edgeflow batch model.edgeflow films -o faster --fps 60 --workers 4

    The pictures are those of one `edgeflow run`: pieces begin at scene cuts, or, where the model keeps nothing from frame to frame, anywhere.
    The same command again goes on where this one stopped, was interrupted or killed. A worker that dies is replaced, and its piece made again.

    Example: edgeflow batch model.edgeflow films -o faster --engine ray --address 10.0.0.1:6379
    """
    began = time.perf_counter()
    if address is not None and engine is not Engine.ray:
        raise InputError("--address is that of a Ray cluster: add --engine ray, or leave it out")
    check_order(bundle, folder)
    if not folder.exists():
        raise InputError(f"{folder}: no such file or folder; check the path")
    if folder.is_dir() and not holds_films(folder):
        raise InputError(f"{folder} holds no films: give a folder of films, or one film")
    opened = open_bundle(bundle)
    film = parse_film(times, fps, spread, (codec, crf, bitrate, bits), deinterlace, strict)
    asked = _asked(opened, Asked(library, threads, tuple(fix or ()), tuple(policy or ()), quality))
    recipe = _recipe(opened, film, asked, threads, overwrite)
    Maker(recipe)  # what cannot be made at all is said before workers are started
    options = {name: value for name, value in context.params.items() if name not in ("folder", "output")}
    jobs, ledger = begin_folder(folder, output, options)
    todo, skipped, failed = _sorted(jobs, ledger, overwrite)
    films: list[Film] = []
    again = 0
    if todo:
        with _crew(engine, recipe, workers, threads, address) as crew:
            films, again = _made(todo, crew, ledger)
    failed |= {film.job.source.name: film.failed for film in films if film.failed}
    made = tuple(film.job.source.name for film in films if film.done)
    outcome = Outcome(made, tuple(job.source.name for job in skipped), failed)
    if json:
        pieces = {
            "made": sum(film.made for film in films),
            "kept": sum(film.kept for film in films),
            "again": again,
        }
        print_json({**outcome.to_json(), "pieces": pieces, "seconds": time.perf_counter() - began})
    else:
        say_outcome(outcome, output)
    if failed:
        raise typer.Exit(1)


def _recipe(bundle: Bundle, film: FilmAsked, asked: Asked, threads: int | None, overwrite: bool) -> Recipe:
    """How the films are made.

    Raises:
        InputError: the bundle makes no films, or not what was asked for.
    """
    masks = _check_bundle(bundle, film.faster)
    what = {"bundle": digest(bundle), "policy": sorted(asked.words), "spread": film.spread, "masks": masks}
    return Recipe(
        bundle.path.resolve(),
        steered(bundle, list(asked.fix), list(asked.policy), asked.quality),
        asked.library,
        threads,
        film.times,
        film.fps,
        film.spread,
        masks,
        film.encoding,
        film.strict,
        film.deinterlace,
        what,
        overwrite,
        SPAN,
    )


def _check_bundle(bundle: Bundle, faster: object) -> str:
    """Refuse a bundle that makes no films; how masks are shown, if it makes these."""
    kinds = {made.kind for made in bundle.manifest.task.outputs}
    if not kinds & PICTURES and "labels" in kinds:
        raise InputError(f"{bundle.path} makes labels, which take one pass over a film: use `edgeflow run`")
    check_task(bundle, faster, False, "")
    return "" if "image" in kinds else mask_style(False, "")


def _asked(bundle: Bundle, asked: Asked) -> Asked:
    """What decides routes.

    Raises:
        InputError: it hangs on how long frames take.
    """
    if "budget" in asked.policy:
        raise InputError(
            "--policy budget holds a deadline of one stream, and a batch has none: use `edgeflow run`, or --fix"
        )
    return or_as_tuned(bundle, asked)


def _sorted(jobs: list[Job], ledger: Ledger, overwrite: bool) -> tuple[list[Job], list[Job], dict[str, str]]:
    """Films that are to be made, those that are done, and why others cannot be made."""
    todo, skipped = [], []
    failed: dict[str, str] = {}
    for job in jobs:
        if not overwrite and ledger.done(job):
            skipped.append(job)
            continue
        try:
            if overwrite:
                SpanParts(job.output).remove()
            elif not job.begun:
                ledger.check(job)
        except EdgeflowError as error:
            failed[job.source.name] = str(error)
            continue
        if not job.output.exists():
            ledger.note(job)  # killed after its film got its name, it is known as done
        todo.append(job)
    return todo, skipped, failed


def _crew(
    engine: Engine, recipe: Recipe, workers: int | None, threads: int | None, address: str | None
) -> AbstractContextManager[Crew]:
    """Who makes the films.

    Raises:
        InputError: Ray is not installed, or its cluster does not answer.
    """
    if engine is Engine.ray:
        from edgeflow.hosts.ray import ray_crew

        return ray_crew(recipe, workers, threads or 1, address)
    cores = usable_cores()
    size = workers or min(cores, MOST)
    return LocalCrew(replace(recipe, threads=threads or max(cores // size, 1)), size)


def _made(jobs: list[Job], crew: Crew, ledger: Ledger) -> tuple[list[Film], int]:
    """Have the films made: what became of each, and how many pieces were given to a second worker."""

    def on_film(film: Film) -> None:
        if film.failed:
            err.print(f"edgeflow: error: {film.job.source.name}: {film.failed}", soft_wrap=True)
            return
        ledger.note(film.job)
        _say_film(film)

    with progress_bar() as bar:
        row = bar.add_task(f"{crew.size} workers, pieces", total=None)
        work = Batch(
            jobs,
            crew,
            on_film,
            lambda line: err.print(f"edgeflow: {line}", soft_wrap=True),
            lambda whole, known: bar.update(row, completed=whole, total=known),
        )
        work.run()
    return list(work.films.values()), work.again


def _say_film(film: Film) -> None:
    assert film.plan is not None
    for remark in film.remarks:
        err.print(f"edgeflow: {remark}", soft_wrap=True)
    kept = f", {film.kept} of them by an earlier run" if film.kept else ""
    err.print(
        f"{film.job.source.name}: {film.plan.frames} frames in, {film.written} out, {film.plan.cuts} cuts; "
        f"{len(film.plan.spans)} piece{'s' * (len(film.plan.spans) != 1)}{kept}",
        soft_wrap=True,
    )
