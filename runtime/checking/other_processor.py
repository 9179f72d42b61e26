"""int8 engines on a processor of another kind than the one that judged them: they are compared with their goldens first.

How eight-bit products are added depends on the processor. A bundle says on which instruction sets its engines
were judged; where these are others, a session compares every int8 engine with its golden vector before the first
frame, once per bundle, processor and release of the engine library. That they were right is kept in the user's cache
folder (`ir/cache_folder.py`); where that cannot be written, each session compares again.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import edgeflow
from edgeflow.ir.bundle import WEIGHTS, Bundle
from edgeflow.ir.bundle.golden import read_clip
from edgeflow.ir.cache_folder import cache_folder
from edgeflow.ir.errors import BackendError, BundleError
from edgeflow.ir.files import write_atomically
from edgeflow.ir.libraries import library
from edgeflow.ir.plan import Plan
from edgeflow.runtime.backends import Backend
from edgeflow.runtime.checking.engines import check_engine, golden_size
from edgeflow.runtime.machine import in_words, instruction_sets
from edgeflow.runtime.stream.loading import dims_of, load_graphs


def judged_elsewhere(bundle: Bundle) -> str:
    """On which instruction sets a bundle's int8 engines were judged; empty if on this processor's, or there are none."""
    judged = bundle.manifest.provenance.get("instructions")
    at_int8 = any(entry.precision == "int8" for entry in bundle.manifest.graphs.values())
    if not at_int8 or judged == list(instruction_sets()):
        return ""
    return in_words(judged) if judged else "a processor that it does not name"


def prove_here(bundle: Bundle, whole: Plan, backend: Backend) -> None:
    """Compare a plan's int8 engines with their goldens, unless they were judged or compared on such a processor.

    Args:
        bundle: whose engines they are.
        whole: one of the bundle's plans.
        backend: the engine library.

    Raises:
        BackendError: an engine is too far off.
    """
    plan = _at_int8(bundle, whole)
    if not library(backend.name).on_processor or not judged_elsewhere(bundle) or not plan.stages:
        return
    record = _record(bundle, plan, backend)
    with suppress(OSError):
        if record and record.exists():
            return
    kind = next(kind for kind, other in bundle.manifest.plans.items() if other is whole)
    _compare(bundle, kind, plan, backend)
    if record:
        with suppress(OSError, BundleError):
            record.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(record, b"")


def _at_int8(bundle: Bundle, plan: Plan) -> Plan:
    """The plan with nothing but its int8 graphs."""
    graphs = bundle.manifest.graphs
    kept = (
        replace(stage, graphs=tuple(g for g in stage.graphs if graphs[g.graph].precision == "int8"))
        for stage in plan.stages
    )
    return replace(plan, steps=tuple(stage for stage in kept if stage.graphs), chains=())


def _compare(bundle: Bundle, kind: str, plan: Plan, backend: Backend) -> None:
    size = golden_size(read_clip(bundle.path, kind, bundle.manifest.plans[kind]), plan)
    for loaded in load_graphs(bundle, plan, backend, size, exact=True).values():
        found = check_engine(bundle, loaded, backend.memory, dims_of(size))
        if not found.passed:
            raise BackendError(
                f"{loaded.graph.graph} reaches {found.sqnr_db:.1f} dB of signal to error at int8 on this processor "
                f"({in_words(instruction_sets())}), {found.minimum_sqnr_db:.0f} are asked for: export it again, "
                "or with --precision fp32"
            )


def _record(bundle: Bundle, plan: Plan, backend: Backend) -> Path | None:
    """The file that is there once the engines were found right; None if there is no place for it."""
    folder = cache_folder("right-at-int8")
    if folder is None:
        return None
    files = bundle.manifest.files
    graphs = [graph for stage in plan.stages for graph in stage.graphs]
    names = sorted(
        {WEIGHTS, *(g.golden for g in graphs), *(bundle.manifest.graphs[g.graph].file for g in graphs)}
    )
    compared = {
        "files": [[name, files[name].sha256] for name in names],
        "instructions": instruction_sets(),
        "library": [backend.name, backend.version],
        "edgeflow": edgeflow.__version__,
    }
    digest = sha256(json.dumps(compared).encode()).hexdigest()
    return folder / digest[:32]
