"""Bundles that tests need and do not test the making of, kept from run to run and shared by processes.

A bundle is kept under a hash of everything it comes from: edgeflow's own source, the versions of all that is
installed, the processor's instruction sets, the model (its code, settings and weights) and what the export is asked for.
Whoever changes one of these gets a new one; a clean checkout makes all of them. Tests of the exporter itself
call `compile_model`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edgeflow
from edgeflow.export.precision import pays
from edgeflow.ir.bundle import open_bundle
from edgeflow.runtime.machine import instruction_sets

if TYPE_CHECKING:
    from edgeflow.export.compile import Compiled

PLACE = "EDGEFLOW_TEST_BUNDLES"
"""Environment variable that names the folder of kept bundles; without it nothing is kept."""

BOUND = 512 << 20
"""Bytes of bundles that stay when a run of tests ends; those used longest ago go first."""

CODE = ("export", "flow", "ir", "models", "ops", "runtime", "targets", "training")
"""Folders of edgeflow that a bundle may come from; commands (`cli`) count where a bundle is made by one."""


def compile_kept(model: Any, target: Any, output: Path, *, progress: Any = None, **options: Any) -> Compiled:
    """What `compile_model` makes of the same arguments, made or kept; nothing may be patched for it."""
    from edgeflow.export.compile import Compiled, compile_model  # tests that need no bundle do without
    from edgeflow.export.lowering.digest import described, model_digest

    def make() -> dict[str, int]:
        told = {"progress": progress} if progress else {}
        made = compile_model(model, target, output, **options, **told)
        return {name: getattr(made, name) for name in ("unique_weight_bytes", "lowered", "resumed")}

    model = model.eval()
    told = kept(output, [model_digest(model), described(target), described(options)], make)
    return Compiled(output, open_bundle(output).manifest, **told)


def kept(output: Path, made_from: list[str], make: Callable[[], Any], code: tuple[str, ...] = CODE) -> Any:
    """Put a bundle at `output`: a copy of the one that was kept, else what `make` writes there.

    Args:
        output: folder that is not there yet.
        made_from: what the bundle follows from besides edgeflow's code and where it runs.
        make: writes the bundle; what it returns is kept beside it as JSON.
        code: folders of edgeflow that the bundle may come from.

    Returns:
        What `make` returned when the bundle was made.
    """
    if not os.environ.get(PLACE):
        return make()
    key = hashlib.sha256("\n".join((_surroundings(code), *made_from)).encode()).hexdigest()[:32]
    place = Path(os.environ[PLACE]) / key
    with _alone(place.with_suffix(".lock")):
        if place.is_dir():
            shutil.copytree(place / "bundle", output)
            os.utime(place)
            return json.loads((place / "told.json").read_text())
        told = make()
        partial = place.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(output, partial / "bundle")
        (partial / "told.json").write_text(json.dumps(told))
        partial.rename(place)
        return told


def trim(folder: Path, bound: int = BOUND) -> None:
    """Remove the bundles used longest ago until the rest fits."""
    held = sorted((place for place in folder.iterdir() if place.is_dir()), key=lambda p: -p.stat().st_mtime)
    for place in held:
        bound -= sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
        if bound < 0:
            shutil.rmtree(place, ignore_errors=True)
            place.with_suffix(".lock").unlink(missing_ok=True)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time; the others wait for what it makes."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@cache
def _surroundings(code: tuple[str, ...]) -> str:
    """Hash of edgeflow's source, of what is installed and of what this processor can do."""
    package = Path(edgeflow.__file__).parent
    digest = hashlib.sha256(f"{sys.version} {instruction_sets()} {pays.LEAST_GAIN}".encode())
    digest.update(repr(sorted(f"{d.name} {d.version}" for d in distributions())).encode())
    for folder in code:
        for file in sorted((package / folder).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(package)).encode() + file.read_bytes())
    return digest.hexdigest()
