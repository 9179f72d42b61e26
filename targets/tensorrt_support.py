"""Says before any device is touched which operators of a bundle TensorRT lacks, and what to do about each.

`tensorrt_ops.csv` has a row per ONNX operator: the types it takes, and 1 or 0 per TensorRT release. It was made
from the operator lists of the ONNX parser at these releases (docs/operators.md of onnx/onnx-tensorrt) and
its change log. A release that is not in it is taken for the newest one before it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgeflow.targets.known_bad import rules
from edgeflow.targets.target import Target, numbers

TABLE = Path(__file__).with_name("tensorrt_ops.csv")
OPSETS = {"10.0": 20, "10.6": 22, "10.15": 24}
"""The newest opset that a release's parser lists, by the first release that does (docs/operators.md at 10.1, 10.6,
10.15 and 11.1)."""


@dataclass(frozen=True)
class Operator:
    """One operator of a graph.

    Attributes:
        type: its ONNX type.
        domain: empty for ONNX's own.
        opset: of its domain.
        attributes: those that decide whether it is supported: integers, lists of them, and strings.
        bytes: it reads or writes uint8.
        bfloat16: it reads or writes bfloat16.
        ranks: of its inputs, where they are known.
    """

    type: str
    domain: str = ""
    opset: int = 19
    attributes: tuple[tuple[str, Any], ...] = ()
    bytes: bool = False
    bfloat16: bool = False
    ranks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Gap:
    """What stands in the way.

    Attributes:
        operator: ONNX type; `opset N` where a whole graph is concerned.
        graphs: where it stands.
        versions: releases of TensorRT that it concerns.
        fatal: an engine cannot be built, or would compute something else.
        reason: what is wrong.
        advice: what to do.
    """

    operator: str
    graphs: tuple[str, ...]
    versions: tuple[str, ...]
    fatal: bool
    reason: str
    advice: str


@dataclass(frozen=True)
class Support:
    """The report on one bundle: releases looked at, operators found with how often, and the gaps."""

    versions: tuple[str, ...]
    operators: Mapping[str, int]
    gaps: tuple[Gap, ...]

    @property
    def complete(self) -> bool:
        """Whether every engine can be built on every release."""
        return not any(gap.fatal for gap in self.gaps)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        gaps = [asdict(gap) for gap in self.gaps]
        return {"versions": list(self.versions), "operators": dict(self.operators), "gaps": gaps}


def support(graphs: Mapping[str, Iterable[Operator]], target: Target) -> Support:
    """Compare every operator with what each release of the target's range has.

    Args:
        graphs: operators by the graph's id.
        target: a TensorRT target.
    """
    counts: dict[str, int] = {}
    found: dict[tuple[str, bool, str, str], tuple[dict[str, None], dict[str, None]]] = {}
    for name, operators in graphs.items():
        for operator in operators:
            counts[operator.type] = counts.get(operator.type, 0) + 1
            for version in target.versions:
                for kind, fatal, reason, advice in _problems(operator, version):
                    where, when = found.setdefault((kind, fatal, reason, advice), ({}, {}))
                    where[name], when[version] = None, None
    gaps = tuple(
        Gap(type_, tuple(where), tuple(when), fatal, reason, advice)
        for (type_, fatal, reason, advice), (where, when) in found.items()
    )
    ordered = tuple(sorted(gaps, key=lambda gap: (not gap.fatal, gap.operator)))
    return Support(target.versions, dict(sorted(counts.items())), ordered)


def newest_opset(version: str) -> int:
    """The newest opset that a release's parser lists."""
    return OPSETS[_newest(OPSETS, version)]


def _problems(operator: Operator, version: str) -> Iterable[tuple[str, bool, str, str]]:
    """(what, fatal, reason, advice) of everything that is wrong with an operator on a release."""
    if not operator.domain and operator.opset > (newest := newest_opset(version)):
        since = next(release for release, opset in OPSETS.items() if opset >= operator.opset)
        yield (
            f"opset {operator.opset}",
            True,
            f"is not listed by its parser, which ends at {newest}",
            f"use TensorRT {since} or later, or export with --precision fp16",
        )
    for fatal, reason, advice in _own_problems(operator, version):
        yield operator.type, fatal, reason, advice


def _own_problems(operator: Operator, version: str) -> Iterable[tuple[bool, str, str]]:
    """(fatal, reason, advice) of what is wrong with an operator of this type on a release."""
    if operator.domain == "edgeflow":
        yield (
            False,
            "is edgeflow's plugin",
            "`edgeflow build` compiles it on the device, with its CUDA and TensorRT headers",
        )
        return
    if operator.domain:
        yield True, f"comes from the domain {operator.domain}", "write it in standard operators"
        return
    if not _supported(operator.type, version):
        yield True, "is not imported", _REPLACE.get(operator.type, "write it in other operators")
        return
    if operator.bfloat16 and "BF16" not in _table().types[operator.type]:
        yield True, "does not take bfloat16", "export with --precision fp16"
    yield from _traps(operator, dict(operator.attributes), numbers(version))
    for rule in rules():
        known_for = not rule.types or (operator.bfloat16 and "bfloat16" in rule.types)
        if rule.operator == operator.type and known_for and rule.concerns(version):
            yield not rule.form, f"{rule.what} ({'; '.join(rule.sources)})", rule.advice


def _traps(
    operator: Operator, attributes: Mapping[str, Any], version: tuple[int, ...]
) -> Iterable[tuple[bool, str, str]]:
    """Operators that are imported and still fail, or silently compute something else."""
    if operator.bytes and operator.type not in ("Cast", "Identity"):
        advice = "put cast-at-edges among the target's rewrites"
        yield True, "works on uint8, which TensorRT has at a network's edges alone", advice
    if operator.type == "GridSample":
        if operator.opset >= 20:
            yield True, "is read as `nearest` from opset 20 on", "lower at opset 19"
        if any(rank not in (0, 4) for rank in operator.ranks[:1]):
            yield True, "samples pictures alone, not volumes", "sample slice by slice"
    if operator.type == "Resize":
        if attributes.get("antialias"):
            yield True, "is refused with antialias", "filter before resizing, or use edgeflow.ops.resize"
        if attributes.get("coordinate_transformation_mode") in ("half_pixel_symmetric", "tf_crop_and_resize"):
            yield True, "has a coordinate mode that is refused", "use half_pixel or align_corners"
    if operator.type == "DeformConv":
        advice = "export with --operators plugin, or standard"
        if len({*attributes.get("strides", (1,)), 0}) > 2 or len({*attributes.get("dilations", (1,)), 0}) > 2:
            yield True, "swaps height and width of unlike strides, pads or dilations", advice
        if version < (10, 11):
            yield True, "runs its product on another stream before 10.11, which is a race", advice
        yield False, "keeps sampling coordinates in half precision at fp16", advice
    if operator.type == "QuantizeLinear" and attributes.get("zero_point"):
        yield True, "has a zero point, TensorRT quantises symmetrically", "calibrate int8 for this target"


_REPLACE = {
    "AffineGrid": "build the grid from Range, Mul and Add",
    "Col2Im": "write it as ConvTranspose with an identity kernel",
    "DynamicQuantizeLinear": "calibrate with --precision int8",
    "ConvInteger": "use QuantizeLinear and DequantizeLinear around Conv",
    "QLinearConv": "use QuantizeLinear and DequantizeLinear around Conv",
    "DFT": "write it as a matrix product",
    "Unique": "decide on the host: make it a decision of the flow",
}


def _supported(operator: str, version: str) -> bool:
    table = _table()
    return (operator, _newest(table.releases, version)) in table.imported


def _newest(releases: Iterable[str], version: str) -> str:
    """Newest release not later than `version`; the first if there is none. Releases ascend."""
    first, *others = releases
    return max((first, *(r for r in others if numbers(r) <= numbers(version))), key=numbers)


@dataclass(frozen=True)
class _Table:
    releases: tuple[str, ...]
    types: Mapping[str, tuple[str, ...]]
    imported: frozenset[tuple[str, str]]


@lru_cache(maxsize=1)
def _table() -> _Table:
    with TABLE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    releases = tuple(name for name in rows[0] if name not in ("op", "types"))
    imported = frozenset((row["op"], release) for row in rows for release in releases if row[release] == "1")
    types = {row["op"]: tuple(row["types"].split()) for row in rows}
    return _Table(releases, types, imported)
