"""Loads and checks target descriptions."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from edgeflow.ir.bundle.costs import Roofline
from edgeflow.ir.errors import ExportError, TargetError
from edgeflow.ir.extensions import extensions
from edgeflow.ir.libraries import libraries, library

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FOLDER = Path(__file__).parent
_PRECISIONS = ("fp32", "fp16", "bf16", "int8")
OPERATOR_FORMS = ("native", "standard", "plugin")
"""Around ONNX's own newest operators, such as `DeformConv`; of operators that every library has; or as edgeflow's plugins."""
_OPTIONAL = ("compute_capability", "unified_memory", "operators", "releases", "since", "sources")


@dataclass(frozen=True)
class Target:
    """A named device profile.

    Attributes:
        name: how the command line calls it.
        description: for people.
        library: engine library that runs its engines, with the device it runs them on if that is not the CPU.
        versions: releases of the library that it is for, ascending; newer ones of the last's major release too.
        precision: of the engines, if none is asked for.
        precisions: that its engines can be made at.
        batches: static batch sizes, ascending, from 1.
        rewrites: graph rewrites that make its library faster, by name, in order.
        memory_gb: memory of the device, in 10^9 bytes.
        roofline: what an engine is taken to cost until it was measured.
        compute_capability: of an NVIDIA device, as `8.7`; empty elsewhere.
        unified_memory: the processor and the device share one memory.
        operators: form of edgeflow's own operators, one of `OPERATOR_FORMS`.
        releases: what brings a release of the library to the device, by release.
        since: first release of the library that takes a precision, by precision; the others, all releases take.
        sources: where each fact comes from, by field.
    """

    name: str
    description: str
    library: str
    versions: tuple[str, ...]
    precision: str
    precisions: tuple[str, ...]
    batches: tuple[int, ...]
    rewrites: tuple[str, ...]
    memory_gb: float
    roofline: Roofline
    compute_capability: str = ""
    unified_memory: bool = False
    operators: str = "native"
    releases: Mapping[str, str] = field(default_factory=dict)
    since: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def minimum(self) -> str:
        """The oldest release of the library that works."""
        return self.versions[0]

    @property
    def half(self) -> str | None:
        """Half precision that graphs are typed in: at int8, of what is not quantised, where the device has fp16.

        At bf16 only TensorRT's are: other libraries compute fp32 graphs in bfloat16.
        """
        match self.precision:
            case "fp16":
                return "fp16"
            case "int8" if "fp16" in self.precisions:
                return "fp16"
            case "bf16" if library(self.library).types_bf16:
                return "bf16"
        return None

    @property
    def weight_budget(self) -> int:
        """Bytes that the weights of all engines may take: half of the memory."""
        return int(self.memory_gb * 1e9 / 2)

    @property
    def activation_budget(self) -> int:
        """Bytes that a frame's tensors may take: the other half."""
        return int(self.memory_gb * 1e9 / 2)

    def to_json(self) -> dict[str, Any]:
        """Plain data, as a bundle's manifest keeps it."""
        lists = {
            name: list(getattr(self, name)) for name in ("versions", "precisions", "batches", "rewrites")
        }
        return {**asdict(self), **lists}

    def with_operators(self, form: str) -> Target:
        """This target with edgeflow's own operators in another form, one of `OPERATOR_FORMS`.

        Raises:
            ExportError: its library runs no plugins.
        """
        if form == "plugin" and not library(self.library).plugins:
            raise ExportError(
                f"target {self.name} runs by {self.library}, plugins are TensorRT's: use --operators native or standard"
            )
        return replace(self, operators=form)

    def at(self, precision: str) -> Target:
        """This target with engines of another precision.

        Raises:
            ExportError: the target does not support it.
        """
        if precision not in self.precisions:
            raise ExportError(
                f"target {self.name} has no precision {precision!r}: use one of {', '.join(self.precisions)}, "
                "or another target (`edgeflow targets`)"
            )
        return replace(self, precision=precision)


def names() -> list[str]:
    """Targets that edgeflow ships, and those that installed packages add (entry points `edgeflow.targets`: paths of TOML files)."""
    return sorted({path.stem for path in _FOLDER.glob("*.toml")} | set(extensions("targets", Path)))


def load(name: str) -> Target:
    """Read a target by name, or from a TOML file of one's own.

    Raises:
        TargetError: no such target, or its description lacks or misstates something.
    """
    path = (
        Path(name)
        if name.endswith(".toml")
        else extensions("targets", Path).get(name, _FOLDER / f"{name}.toml")
    )
    if not path.is_file():
        raise TargetError(f"no target {name!r}: known are {', '.join(names())}, or give a .toml file")
    try:
        data = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError(f"target {path}: not TOML ({error}); compare it with targets/cpu.toml") from error
    return from_json(data, str(path))


def from_json(data: dict[str, Any], where: str) -> Target:
    """A target from plain data, checked.

    Raises:
        TargetError: it lacks or misstates something.
    """
    wanted = {own.name for own in fields(Target)}
    if odd := sorted((wanted ^ set(data)) - set(_OPTIONAL)):
        raise TargetError(f"target {where}: missing or unknown fields {odd}; its fields are {sorted(wanted)}")
    for own in ("name", "description", "precision", "compute_capability"):
        if not isinstance(data.get(own, ""), str):
            raise TargetError(f"target {where}: {own} is text in quotes, got {data[own]!r}")
    _check_choice(data, "library", tuple(libraries()), where)
    _check_choice({"operators": "native", **data}, "operators", OPERATOR_FORMS, where)
    _check_names(data, "versions", where)
    if not data["versions"] or data["versions"] != sorted(set(data["versions"]), key=numbers):
        raise TargetError(f"target {where}: versions ascend, and are at least one; got {data['versions']!r}")
    precisions = data["precisions"]
    if not isinstance(precisions, list) or not precisions or not set(precisions) <= set(_PRECISIONS):
        raise TargetError(f"target {where}: precisions are some of {_PRECISIONS}, got {precisions!r}")
    if data["precision"] not in precisions:
        raise TargetError(f"target {where}: precision {data['precision']!r} is not one of {precisions}")
    since = data.get("since", {})
    if not set(since) <= set(precisions) or not all(isinstance(first, str) for first in since.values()):
        raise TargetError(
            f"target {where}: since names first releases of some of {precisions}, got {since!r}"
        )
    batches = data["batches"]
    whole = isinstance(batches, list) and all(type(batch) is int for batch in batches)
    if not whole or batches[:1] != [1] or batches != sorted(set(batches)):
        raise TargetError(f"target {where}: batches ascend from 1, got {batches!r}")
    if not isinstance(data["memory_gb"], int | float) or data["memory_gb"] <= 0:
        raise TargetError(f"target {where}: memory_gb is a positive number, got {data['memory_gb']!r}")
    _check_names(data, "rewrites", where)
    if "int8" in precisions and library(data["library"]).int8 is None:
        raise TargetError(
            f"target {where}: {data['library']} runs no int8 graphs; take int8 out of its precisions"
        )
    return Target(
        **{
            **data,
            "precisions": tuple(precisions),
            "batches": tuple(batches),
            "versions": tuple(data["versions"]),
            "rewrites": tuple(data["rewrites"]),
            "roofline": _roofline(data["roofline"], where),
        }
    )


def numbers(version: str) -> tuple[int, ...]:
    """A release as numbers to compare: `10.13.3` is (10, 13, 3); what follows a `+` or a letter is left out."""
    return tuple(int(part) for part in version.split("+")[0].split(".") if part.isdigit())


def _check_choice(data: Mapping[str, Any], name: str, choices: tuple[str, ...], where: str) -> None:
    if data[name] not in choices:
        raise TargetError(f"target {where}: {name} {data[name]!r} is not one of {choices}")


def _check_names(data: Mapping[str, Any], name: str, where: str) -> None:
    given = data[name]
    if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
        raise TargetError(f"target {where}: {name} are a list of names, got {given!r}")


def _roofline(data: Any, where: str) -> Roofline:
    wanted = {own.name for own in fields(Roofline)}
    if not isinstance(data, dict) or set(data) != wanted:
        raise TargetError(f"target {where}: [roofline] has {', '.join(sorted(wanted))}, got {data!r}")
    if not all(isinstance(value, int | float) and value > 0 for value in data.values()):
        raise TargetError(f"target {where}: the values of [roofline] are positive numbers, got {data!r}")
    return Roofline(**data)
