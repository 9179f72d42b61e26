"""`edgeflow diff`: what moved from one profile to another."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from edgeflow.cli.console import err, out, print_json
from edgeflow.ir.bundle import open_bundle
from edgeflow.ir.errors import InputError
from edgeflow.runtime.measure.changes import Change, Changes, Snapshot, changes, of_bundles, of_profile

REGRESSED = 3
"""The exit code where something got slower; 1 is an error, 2 a wrong option."""


def diff(
    before: Annotated[Path, typer.Argument(help="A profile (--json of `edgeflow profile`), or a bundle.")],
    after: Annotated[Path, typer.Argument(help="Another one, of the same kind.")],
    json: Annotated[bool, typer.Option("--json", help="Print what moved as JSON.")] = False,
) -> None:
    """Say which engines, routes or mix of routes moved between two profiles, beyond noise, or between two bundles' measurements.

    Exits with 3 if something got slower, with 0 if not. A change counts where the interval of the ratio of medians (99% for all comparisons
    together, by bootstrap of the single runs) lies beyond 3%; bundles keep no single runs, and there 10% count.

    Example: edgeflow diff old.json new.json

    Example: edgeflow diff old.edgeflow new.edgeflow
    """
    end(changes(*_snapshots(before, after)), json)


def end(found: Changes, json: bool = False, quiet: bool = False) -> None:
    """Print what moved, unless something else stands on stdout; exit where something got slower.

    Raises:
        typer.Exit: with `REGRESSED`.
    """
    if json:
        print_json({**asdict(found), "regressions": [change.what for change in found.regressions]})
    elif not quiet:
        _print(found)
    if found.regressions:
        raise typer.Exit(REGRESSED)


def _snapshots(before: Path, after: Path) -> tuple[Snapshot, Snapshot]:
    """What both say.

    Raises:
        InputError: one is a bundle and the other a profile.
    """
    if before.is_dir() != after.is_dir():
        raise InputError(f"{before} and {after}: give two profiles, or two bundles")
    if before.is_dir():
        return of_bundles(open_bundle(before), open_bundle(after))
    return of_profile(before), of_profile(after)


def _print(found: Changes) -> None:
    if found.machine:
        err.print(f"edgeflow: not the same machine: {found.machine[0]}; {found.machine[1]}", soft_wrap=True)
    every = ([found.frame] if found.frame else []) + list(found.engines)
    moved = sorted((change for change in every if change.verdict != "same"), key=lambda change: -change.ratio)
    if moved:
        table = Table("what", "before", "after", "ratio", "interval", "", title="milliseconds, medians")
        for change in moved:
            table.add_row(*_row(change))
        out.print(table)
    if found.everything:
        out.print(
            f"the usual engine takes x{found.everything:.2f}: clocks, threads, other programs or the library moved, not one engine alone"
        )
    if found.frame and found.flops and abs(found.flops - 1) > 0.01:
        out.print(f"the mix moved: FLOPs of a call x{found.flops:.2f}, its time x{found.frame.ratio:.2f}")
    for name, (was, now) in sorted(found.routes.items(), key=lambda item: -abs(item[1][1] - item[1][0])):
        out.print(f"  route {name or '(none)'}: {was:.1%} -> {now:.1%}")
    if found.between:
        out.print(f"between engines: {found.between[0]:.2f} -> {found.between[1]:.2f} ms a call")
    for which, names in (("gone", found.only_before), ("new", found.only_after)):
        if names:
            out.print(f"{which}: {', '.join(names)}", soft_wrap=True)
    slower, faster = (sum(change.verdict == verdict for change in every) for verdict in ("slower", "faster"))
    out.print(
        f"{slower} slower, {faster} faster, {len(every) - slower - faster} of {len(every)} the same as far as noise lets tell"
    )


def _row(change: Change) -> tuple[str, ...]:
    return (
        change.what,
        f"{change.before:.2f}",
        f"{change.after:.2f}",
        f"x{change.ratio:.2f}",
        f"{change.low:.2f} to {change.high:.2f}",
        change.verdict,
    )
