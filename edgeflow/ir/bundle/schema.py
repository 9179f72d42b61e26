"""What plain data from outside has to look like, said once, and checked whole: every fault with its place.

A schema is a function from data and the place where it stands to the faults found there. Schemas are joined from small
ones; checking takes time in proportion to the data, and makes nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from math import isnan
from typing import Any, TypeAlias

Schema: TypeAlias = Callable[[Any, str], Iterator[str]]
"""From data and its place, such as `plans.any.steps[3].size`, to what is wrong with it."""

_PRINTABLE = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]*")
"""Text that a terminal can be given: no control characters but tab and newline."""


def text(longest: int = 1000, like: str = "", what: str = "text") -> Schema:
    """Text of a length, without control characters.

    Args:
        longest: characters.
        like: a regular expression that all of it matches; any text if empty.
        what: what it is, for people.
    """
    pattern = re.compile(like) if like else _PRINTABLE

    def faults(data: Any, where: str) -> Iterator[str]:
        if not isinstance(data, str) or len(data) > longest or not pattern.fullmatch(data):
            yield f"{where}: {what} of at most {longest} characters is wanted, got {short(data)}"

    return faults


def whole(least: int, most: int) -> Schema:
    """A whole number in a range."""

    def faults(data: Any, where: str) -> Iterator[str]:
        if type(data) is not int or not least <= data <= most:
            yield f"{where}: a whole number from {least} to {most} is wanted, got {short(data)}"

    return faults


def number(least: float = float("-inf"), most: float = float("inf")) -> Schema:
    """A number in a range, which may be infinite where the range is."""

    def faults(data: Any, where: str) -> Iterator[str]:
        given = type(data) in (int, float)
        if not given or isnan(data) or not least <= data <= most:
            yield f"{where}: a number from {least:g} to {most:g} is wanted, got {short(data)}"

    return faults


def truth(data: Any, where: str) -> Iterator[str]:
    """True or false."""
    if not isinstance(data, bool):
        yield f"{where}: true or false is wanted, got {short(data)}"


def one_of(*values: str) -> Schema:
    """One of some texts."""

    def faults(data: Any, where: str) -> Iterator[str]:
        if not isinstance(data, str) or data not in values:
            yield f"{where}: one of {', '.join(map(repr, values))} is wanted, got {short(data)}"

    return faults


def nullable(of: Schema) -> Schema:
    """Null, or what another schema takes."""

    def faults(data: Any, where: str) -> Iterator[str]:
        if data is not None:
            yield from of(data, where)

    return faults


def any_of(what: str, *schemas: Schema) -> Schema:
    """What one of some schemas takes."""

    def faults(data: Any, where: str) -> Iterator[str]:
        if all(next(schema(data, where), None) for schema in schemas):
            yield f"{where}: {what} is wanted, got {short(data)}"

    return faults


def each(of: Schema, longest: int, least: int = 0) -> Schema:
    """A list of so many entries."""

    def faults(data: Any, where: str) -> Iterator[str]:
        if not isinstance(data, list) or not least <= len(data) <= longest:
            yield f"{where}: a list of {least} to {longest} entries is wanted, got {short(data)}"
            return
        for number, entry in enumerate(data):
            yield from of(entry, f"{where}[{number}]")

    return faults


def row(*of: Schema) -> Schema:
    """A list of just these entries."""

    def faults(data: Any, where: str) -> Iterator[str]:
        if not isinstance(data, list) or len(data) != len(of):
            yield f"{where}: a list of {len(of)} entries is wanted, got {short(data)}"
            return
        for number, (schema, entry) in enumerate(zip(of, data, strict=True)):
            yield from schema(entry, f"{where}[{number}]")

    return faults


def record(fields: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object with these fields, and no others.

    Args:
        fields: that it has.
        optional: that it may have.
    """
    known = {**fields, **(optional or {})}

    def faults(data: Any, where: str) -> Iterator[str]:
        if not isinstance(data, dict):
            yield f"{where}: an object is wanted, got {short(data)}"
            return
        for name in fields:
            if name not in data:
                yield f"{where}.{name} is missing".lstrip(".")
        for name, value in data.items():
            if name in known:
                yield from known[name](value, f"{where}.{name}".lstrip("."))
            else:
                yield f"{where}.{short(name)[1:-1]} is no field of it".lstrip(".")

    return faults


def table(names: Schema, of: Schema, longest: int, least: int = 0) -> Schema:
    """An object of entries under names."""

    def faults(data: Any, where: str) -> Iterator[str]:
        if not isinstance(data, dict) or not least <= len(data) <= longest:
            yield f"{where}: an object of {least} to {longest} entries is wanted, got {short(data)}"
            return
        for name, entry in data.items():
            yield from names(name, f"{where}, its name {short(name)}")
            yield from of(entry, f"{where}.{short(name)[1:-1]}")

    return faults


def tagged(tag: str, kinds: Mapping[str, Schema]) -> Schema:
    """An object whose field `tag` says what it is; the schemas are of all other fields."""

    def faults(data: Any, where: str) -> Iterator[str]:
        kind = data.get(tag) if isinstance(data, dict) else None
        if not isinstance(kind, str) or kind not in kinds:
            yield f"{where}: an object whose {tag} is one of {', '.join(kinds)} is wanted, got {short(kind)}"
            return
        yield from kinds[kind]({name: value for name, value in data.items() if name != tag}, where)

    return faults


def plain(depth: int, longest: int = 10_000) -> Schema:
    """Anything that JSON can say, of a depth, with so many entries at each place: it is shown to people, and nothing hangs on it."""
    leaf = any_of("text, a number, true, false or null", truth, number(), text(20_000), nullable(one_of()))
    if depth == 0:
        return leaf
    deeper = plain(depth - 1, longest)
    listed, named = each(deeper, longest), table(text(200), deeper, longest)

    def faults(data: Any, where: str) -> Iterator[str]:
        schema = listed if isinstance(data, list) else named if isinstance(data, dict) else leaf
        yield from schema(data, where)

    return faults


def short(data: Any) -> str:
    """A value for a message: never long, never more than a line."""
    if isinstance(data, list | dict):
        return f"{'a list' if isinstance(data, list) else 'an object'} of {len(data)}"
    if isinstance(data, str):
        return ascii(data) if len(data) <= 60 else f"{data[:60]!a}..."
    return "null" if data is None else str(data).lower() if isinstance(data, bool) else repr(data)
