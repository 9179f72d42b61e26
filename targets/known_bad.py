"""Operators that TensorRT imports and is known to compute wrongly, or to refuse: one file a rule.

    tensorrt_rules/NAME.toml   operator, types, what is wrong, releases it was seen on, the other form, advice, sources

What reports name are releases, devices and sizes that somebody tried. So an operator that has another form is tried on the
device that the engines are built on, whatever its release.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from edgeflow.targets.target import numbers

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FOLDER = Path(__file__).with_name("tensorrt_rules")


@dataclass(frozen=True)
class Rule:
    """One operator that is known to be bad.

    Attributes:
        name: of the rule.
        operator: ONNX type.
        what: is wrong, to stand behind the operator's name.
        seen: releases of TensorRT that reports name, ascending.
        form: what else computes the same: `gather`, carried in the bundle and chosen by `edgeflow build`; `single`, chosen by
            the export; or empty.
        advice: what to do about it.
        sources: the reports.
        types: of its first input, that it is known for; all if empty.
    """

    name: str
    operator: str
    what: str
    seen: tuple[str, ...]
    form: str
    advice: str
    sources: tuple[str, ...]
    types: tuple[str, ...] = ()

    def concerns(self, release: str) -> bool:
        """Whether a release is as new as the oldest that it was seen on; nothing says that it was mended since."""
        return numbers(release) >= numbers(self.seen[0])


@lru_cache(maxsize=1)
def rules() -> tuple[Rule, ...]:
    """All rules, by name."""
    return tuple(_read())


def _read() -> Iterator[Rule]:
    for path in sorted(_FOLDER.glob("*.toml")):
        data = tomllib.loads(path.read_text())
        seen, sources, types = (tuple(data.pop(key, ())) for key in ("seen", "sources", "types"))
        yield Rule(path.stem, seen=seen, sources=sources, types=types, **data)
