"""`edgeflow cache`: what is kept from run to run, for which device, and why it is stale."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeflow.cli.console import megabytes, out, print_json
from edgeflow.ir.bundle import open_bundle
from edgeflow.ir.cache_folder import cache_folder
from edgeflow.runtime.kept_engines import KeptEngine, kept_engines, loose_weights

PARTS = {
    "graphs": "what torch.onnx made of segments, for later exports",
    "weights": "published weights as edgeflow reads them",
    "right-at-int8": "which int8 engines were found right on this processor",
    "built": "which engines this machine's `edgeflow build` made: sessions take no others",
}
"""Folders of the user's cache, and what they are for."""


def cache(
    bundle: Annotated[
        Path | None, typer.Argument(help="Look at the engines in this bundle, instead of the user's cache.")
    ] = None,
    purge: Annotated[
        bool,
        typer.Option(
            "--purge",
            help="Remove it: of a bundle the engines that are stale here, of the cache all but the records of what was built.",
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say what is kept from run to run, and why it is stale.

    Example: edgeflow cache model.edgeflow --purge
    """
    if bundle is None:
        _say_parts([_part(name, purge and name != "built") for name in PARTS], json)
        return
    opened = open_bundle(bundle)
    engines, loose = kept_engines(opened), loose_weights(opened)
    size = sum(path.stat().st_size for path in loose)
    if purge:
        for engine in engines:
            if engine.stale:
                engine.remove()
        for path in loose:
            path.unlink(missing_ok=True)
    _say_engines(bundle, engines, purge, json)
    if loose and not json:
        done = ": removed" if purge else ""
        out.print(
            f"{len(loose)} files of weights that no engine reads, {megabytes(size)}{done}", soft_wrap=True
        )


@dataclass(frozen=True)
class _Part:
    """A folder of the user's cache."""

    name: str
    path: str
    files: int
    bytes: int
    purged: bool


def _part(name: str, purge: bool) -> _Part:
    folder = cache_folder(name)
    files = [path for path in folder.rglob("*") if path.is_file()] if folder and folder.is_dir() else []
    size = sum(path.stat().st_size for path in files)
    if purge:
        for path in files:
            path.unlink(missing_ok=True)
    return _Part(name, str(folder or "nowhere"), len(files), size, purge)


def _say_parts(parts: list[_Part], json: bool) -> None:
    if json:
        print_json([vars(part) for part in parts])
        return
    for part in parts:
        done = ": removed" if part.purged else ""
        out.print(f"{part.path}: {part.files} files, {megabytes(part.bytes)}{done}", soft_wrap=True)
        out.print(f"  {PARTS[part.name]}", soft_wrap=True)


def _say_engines(bundle: Path, engines: tuple[KeptEngine, ...], purged: bool, json: bool) -> None:
    if json:
        print_json([_plain(engine, purged) for engine in engines])
        return
    if not engines:
        out.print(f"{bundle} keeps no engines: `edgeflow build` makes them", soft_wrap=True)
    for device in sorted({engine.device for engine in engines}):
        own = [engine for engine in engines if engine.device == device]
        size = megabytes(sum(engine.bytes for engine in own))
        out.print(f"{device}: {len(own)} engines, {size}", soft_wrap=True)
        for why, count in Counter(engine.stale for engine in own if engine.stale).items():
            out.print(f"  {count} stale{' and removed' if purged else ''}: {why}", soft_wrap=True)


def _plain(engine: KeptEngine, purged: bool) -> dict[str, Any]:
    told = {"device": engine.device, "file": engine.path.name, "bytes": engine.bytes, "stale": engine.stale}
    return {**told, "removed": purged and bool(engine.stale)}
