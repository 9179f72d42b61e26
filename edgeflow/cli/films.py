"""`edgeflow run` on a folder of films: one after the other, and what became of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer

from edgeflow.cli import endings
from edgeflow.cli.console import err, print_json
from edgeflow.ir.bundle import MANIFEST
from edgeflow.ir.errors import EdgeflowError, VideoError
from edgeflow.ir.files import sha256_of
from edgeflow.runtime.video.films import Job, Ledger, Outcome, jobs_of

HOW = ("overwrite", "resume", "json", "threads", "in_flight", "bundle", "engine", "workers", "address")
"""Options that say how films are made, and not what they are."""


def begin_folder(folder: Path, out: Path, options: Mapping[str, Any]) -> tuple[list[Job], Ledger]:
    """The films that a folder becomes, and which of them are done in the way that the options say.

    Args:
        folder: of films.
        out: where the results go; made if it is not there.
        options: of the command.

    Raises:
        VideoError: the results cannot go there.
    """
    jobs = jobs_of(folder, out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VideoError(f"{out}: cannot be made: {error.strerror}; choose another folder") from error
    what = {name: value for name, value in sorted(options.items()) if name not in HOW}
    return jobs, Ledger(out, {"bundle": sha256_of(Path(options["bundle"]) / MANIFEST), "options": what})


def make_films(
    folder: Path, out: Path, options: Mapping[str, Any], make: Callable[[Job, bool], None]
) -> None:
    """Make every film of a folder that is not done.

    Args:
        folder: of films.
        out: where the results go; made if it is not there.
        options: of the command.
        make: makes one; told whether to go on with what is there.

    Raises:
        typer.Exit: with 1, if one could not be made.
        VideoError: the results cannot go there.
    """
    jobs, ledger = begin_folder(folder, out, options)
    outcome = _made(jobs, ledger, bool(options["overwrite"]), make)
    if options["json"]:
        print_json(outcome.to_json())
    else:
        say_outcome(outcome, out)
    if outcome.failed:
        raise typer.Exit(1)


def _made(jobs: list[Job], ledger: Ledger, overwrite: bool, make: Callable[[Job, bool], None]) -> Outcome:
    done, skipped = [], []
    failed: dict[str, str] = {}
    for number, job in enumerate(jobs, start=1):
        if not overwrite and ledger.done(job):
            skipped.append(job.source.name)
            continue
        err.print(f"{number} of {len(jobs)}: {job.source.name}", soft_wrap=True)
        if not job.output.exists():
            ledger.note(job)  # killed after its film got its name, it is known as done
        try:
            if not overwrite and not job.begun:
                ledger.check(job)
            make(job, job.begun and not overwrite)
            ledger.note(job)
        except Exception as error:  # whatever it is, the other films can be made
            if endings.asked():
                raise
            failed[job.source.name] = _why(error)
            err.print(f"edgeflow: error: {failed[job.source.name]}", soft_wrap=True)
            continue
        done.append(job.source.name)
    return Outcome(tuple(done), tuple(skipped), failed)


def _why(error: Exception) -> str:
    """What is wrong, in a line."""
    said = " ".join(str(error).split()) or type(error).__name__
    ours = isinstance(error, EdgeflowError | OSError | MemoryError)
    return said if ours else f"{type(error).__name__}: {said} (a fault of edgeflow, please report it)"


def say_outcome(outcome: Outcome, out: Path) -> None:
    """Say what became of a folder's films."""
    parts = [
        f"{len(outcome.done)} films made",
        f"{len(outcome.skipped)} were done",
        f"{len(outcome.failed)} failed",
    ]
    err.print(f"{out}: {', '.join(parts)}", soft_wrap=True)
    for name, why in outcome.failed.items():
        err.print(f"  {name}: {why}", soft_wrap=True)
