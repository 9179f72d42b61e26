"""What a manifest has to look like: every field's type, range and length. What its parts have to do with each other is `plan_faults`'s."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from edgeflow.ir.bundle.schema import (
    Schema,
    any_of,
    each,
    nullable,
    number,
    one_of,
    plain,
    record,
    row,
    short,
    table,
    tagged,
    text,
    truth,
    whole,
)
from edgeflow.ir.errors import EdgeflowError
from edgeflow.ir.rules import rules
from edgeflow.ir.task import KINDS

LARGEST_SIDE = 1 << 24
"""Elements along one dimension."""

_BARE = r"\w[\w.,=+ -]{0,199}"
_NAME = text(200, r"[^\x00-\x1f\x7f-\x9f/\\]{1,200}", "a name")
_FILE_NAME = text(200, _BARE, "a bare name of letters, digits and . , = + -")
_PATH = text(800, rf"{_BARE}(/{_BARE}){{0,3}}", "a path inside the bundle")
_PRECISION = one_of("fp32", "fp16", "bf16", "int8")
_DTYPE = one_of("uint8", "float32", "float16", "bfloat16", "int32", "int64", "bool")
_SIDE = any_of(
    f"a whole number from 1 to {LARGEST_SIDE}, or the name of a free dimension", whole(1, LARGEST_SIDE), _NAME
)
_SHAPE = each(_SIDE, 8)
_CHOICE = any_of(
    "true, false, a number or a name", truth, whole(-(1 << 40), 1 << 40), number(-1e12, 1e12), _NAME
)
_VARIANT = table(_NAME, _CHOICE, 64)
_NAMES = each(_NAME, 1024)
_PORT = row(_NAME, _NAME, _SHAPE, _DTYPE)
_DEEPEST = 300


def _condition(data: Any, where: str, depth: int = _DEEPEST) -> Iterator[str]:
    """A condition in nested lists, see `Condition.to_json`."""
    op = data[0] if isinstance(data, list) and data else None
    if op in ("true", "false"):
        yield from row(one_of("true", "false"))(data, where)
    elif op == "in":
        yield from row(one_of("in"), _NAME, each(_CHOICE, 1024, 1))(data, where)
    elif op in ("and", "or", "not") and depth and (len(data) == 2 if op == "not" else 2 < len(data) <= 1025):
        for place, term in enumerate(data[1:], 1):
            yield from _condition(term, f"{where}[{place}]", depth - 1)
    else:
        yield f"{where}: a condition is wanted, got {short(data)}"


_SIZES = {"height": _SIDE, "width": _SIDE}
_INTERFACE = tagged(
    "kind",
    {
        "tensor": record({"name": _NAME, "shape": _SHAPE}),
        "image": record({"name": _NAME, **_SIZES}),
        "clip": record(
            {
                "name": _NAME,
                "frames": any_of(
                    "a whole number to 4096, or the name of a free dimension", whole(1, 4096), _NAME
                ),
                **_SIZES,
            }
        ),
    },
)

_FIELDS = {
    "int": whole(-(1 << 40), 1 << 40),
    "float": number(),
    "str": _NAME,
    "bool": truth,
    "tuple[float, ...]": each(number(), 1024),
    "int | Length": any_of("a whole number, or an input", whole(0, 1 << 40), record({"input": _NAME})),
}
"""By the annotation of a rule's field; those of packages' own rules may be others."""


def _rule(data: Any, where: str) -> Iterator[str]:
    """A decision rule, by the fields of its class; where these are good, the class itself may still refuse them."""
    kind = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in rules():
        yield f"{where}: an object whose kind is one of {', '.join(sorted(rules()))} is wanted, got {short(kind)}"
        return
    own = {field.name: _FIELDS.get(str(field.type), plain(3)) for field in fields(rules()[kind])}
    found = list(tagged("kind", {kind: record(own)})(data, where))
    yield from found
    if not found:
        try:
            rules()[kind].from_json(data)
        except (EdgeflowError, TypeError, ValueError, KeyError) as error:
            yield f"{where}: {error}"


_GRAPH = record(
    {
        "select": _condition,
        "variant": _VARIANT,
        "graph": _FILE_NAME,
        "flops": whole(0, 1 << 60),
        "batches": each(whole(1, 4096), 64, 1),
        "golden": _PATH,
        "inputs": each(_PORT, 1024, 1),
        "outputs": each(_PORT, 1024),
        "exact": each(_PORT, 1024),
        "kept": each(row(_NAME, _NAME), 1024),
        "expected": nullable(number(0, 1e12)),
        "means": each(_PORT, 1024),
        "flops_per_pixel": number(0, 1e12),
    }
)
_DECISION = record(
    {
        "variable": _NAME,
        "axis": each(_CHOICE, 1024, 1),
        "rule": _rule,
        "scores": nullable(_NAME),
        "pooled": any_of("a truth value, '', 'mean' or 'max'", truth, one_of("", "mean", "max")),
    }
)
_TILE_SIDE = whole(1, 1 << 16)
_STEP = tagged(
    "kind",
    {
        "tile": record(
            {
                "regions": _NAME,
                "inputs": each(_NAME, 64, 1),
                "outputs": each(_NAME, 64, 1),
                "size": _TILE_SIDE,
                "halo": whole(0, 1 << 16),
                "multiple": _TILE_SIDE,
            },
            {"smaller": _TILE_SIDE},
        ),
        "route": record({"regions": _NAME, "decisions": each(_DECISION, 256, 1)}),
        "stage": record(
            {
                "name": _NAME,
                "regions": _NAME,
                "segments": each(text(300), 4096, 1),
                "graphs": each(_GRAPH, 4096, 1),
                "otherwise": each(row(_NAME, nullable(_NAME)), 4096),
            }
        ),
        "stitch": record({"regions": _NAME, "input": _NAME, "output": _NAME}, {"blend": truth}),
        "keep": record({"state": _NAME, "input": _NAME, "when": _condition}),
        "sample": record({"input": _NAME, "output": _NAME, "variable": _NAME}),
    },
)
_STATE = record(
    {"name": _NAME, "shape": _SHAPE},
    {"fill": number(-1e30, 1e30), "regions": _NAME, "image": truth},
)
_PLAN = record(
    {
        "strategy": text(100),
        "inputs": each(_INTERFACE, 256, 1),
        "outputs": each(_INTERFACE, 256, 1),
        "results": each(_NAME, 256, 1),
        "states": each(_STATE, 1024),
        "values": each(
            record(
                {
                    "name": _NAME,
                    "regions": _NAME,
                    "shapes": each(row(_VARIANT, _SHAPE), 4096, 1),
                    "image": truth,
                }
            ),
            65_536,
        ),
        "steps": each(_STEP, 16_384, 1),
    },
    {
        "chains": each(
            record({"first": whole(0, 16_384), "end": whole(1, 16_384), "graphs": each(_GRAPH, 64, 1)}),
            4096,
        )
    },
)
_OFFSET = whole(0, 1 << 44)
_KERNEL = record(
    {
        "name": _FILE_NAME,
        "constants": each(
            record({"name": _NAME, "offset": _OFFSET, "shape": each(whole(1, LARGEST_SIDE), 8)}), 64
        ),
    }
)
_ENTRY = record(
    {
        "file": _PATH,
        "segments": each(text(300), 4096),
        "nodes": whole(0, 1 << 32),
        "weight_bytes": _OFFSET,
    },
    {
        "precision": _PRECISION,
        "sqnr_db": nullable(number()),
        "float_layers": each(text(1000), 65_536),
        "note": text(),
        "plugins": each(_FILE_NAME, 64),
        "kernel": nullable(_KERNEL),
        "other": any_of("a path inside the bundle, or ''", one_of(""), _PATH),
        "probes": each(_FILE_NAME, 256),
    },
)
_POSITIVE = number(1e-12, 1e12)
_TARGET = record(
    {
        "name": text(200),
        "library": _FILE_NAME,
        "precision": _PRECISION,
        "versions": each(text(100), 64, 1),
        "roofline": record({"gflops": _POSITIVE, "gbytes": _POSITIVE, "launch_ms": number(0, 1e6)}),
    },
    {
        "description": text(),
        "precisions": each(_PRECISION, 4),
        "batches": each(whole(1, 4096), 64, 1),
        "rewrites": each(text(200), 256),
        "memory_gb": number(0, 1e9),
        "compute_capability": text(100),
        "unified_memory": truth,
        "operators": text(100),
        "deform_conv": text(100),
        "releases": table(text(100), text(), 1024),
        "since": table(text(100), text(100), 64),
        "sources": table(text(100), text(), 1024),
    },
)
_TASK = record(
    {
        "offsets": each(whole(-100_000, 100_000), 4096),
        "outputs": each(
            record(
                {
                    "kind": one_of(*KINDS),
                    "time": number(-1e5, 1e5),
                    "scale": number(1 / 64, 64),
                    "names": each(text(200), 100_000),
                }
            ),
            256,
        ),
        "stride": whole(1, 100_000),
        "clip": truth,
        "shorter": truth,
        "timed": truth,
    }
)
_FILE = record({"bytes": _OFFSET, "sha256": text(64, "[0-9a-f]{64}", "a SHA-256 in hexadecimal")})

_MS = number(0, 1e12)
_DECIDED = record(
    {
        "routes": text(),
        "prices": text(),
        "runs": each(
            record(
                {
                    "calls": each(text(300), 16_384),
                    "stages_start_at": each(text(300), 16_384),
                    "ms": record({"chosen": _MS, "chained": _MS, "routes": _MS}),
                    "weight_bytes": record({"chosen": _OFFSET, "chained": _OFFSET, "routes": _OFFSET}),
                    "engines_priced": whole(0, 1 << 40),
                }
            ),
            1024,
        ),
    }
)
_PROVENANCE = record(
    {
        "created": text(100),
        "plan": text(100),
        "edgeflow": text(100),
        "python": text(100),
        "torch": text(100),
        "onnx": text(100),
    },
    {
        "decisions": table(text(40), _DECIDED, 64),
        "instructions": each(text(100), 64),
        "seconds": table(text(200), number(), 256),
        "remarks": each(text(4000), 1024),
        "compared": plain(3),
        "support": plain(5),
    },
)

MANIFEST_SCHEMA: Schema = record(
    {
        "format": text(100),
        "schema_version": row(whole(0, 1000), whole(0, 1000)),
        "model": table(text(100), nullable(any_of("text or a number", text(), number(), truth)), 64),
        "target": _TARGET,
        "provenance": _PROVENANCE,
        "plans": table(text(40, r"any|landscape|portrait|\d{1,6}x\d{1,6}", "a kind of frames"), _PLAN, 64, 1),
        "graphs": table(_FILE_NAME, _ENTRY, 16_384, 1),
        "files": table(_PATH, _FILE, 65_536),
    },
    {"task": _TASK},
)
