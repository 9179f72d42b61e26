"""What an ONNX file says of its inputs, its outputs and the data that lies outside it, read without onnx.

Only what is needed is looked at: operators are skipped, unless something in them may name a file.

Source: onnx.proto3 (field numbers); Protocol Buffers, Encoding.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Buffer: TypeAlias = mmap.mmap | bytes

TYPES = {"float32": 1, "uint8": 2, "int32": 6, "int64": 7, "bool": 9, "float16": 10, "bfloat16": 16}
"""ONNX's number of an element type, by the name that ports have."""

BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""Bytes of an element, by ONNX's number of its type."""

_DEEPEST = 32
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LOCATION = b"location"
"""Whatever names a file of external data has this key."""


@dataclass(frozen=True)
class GraphTensor:
    """An input or output of a graph; a dimension without a size is its name, or empty."""

    name: str
    type: int
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class External:
    """A tensor whose data lies in another file.

    Attributes:
        name: of the tensor.
        bytes: that its shape and type come to; -1 if these are not known.
        location: of the file, as it stands there.
        offset: first byte of the data.
        length: in bytes; -1 for up to the file's end.
    """

    name: str
    bytes: int
    location: str
    offset: int
    length: int


@dataclass(frozen=True)
class OnnxFile:
    """What was read of a file."""

    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]
    external: tuple[External, ...]


def read_onnx(path: Path) -> OnnxFile:
    """Read a file's interface.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not ONNX, or of a form that is not looked through.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise ValueError("it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _model(data)


def _model(data: Buffer) -> OnnxFile:
    graphs, functions = [], []
    for field, kind, start, end in _fields(data, 0, len(data)):
        if field == 7 and kind == _BYTES:
            graphs.append((start, end))
        elif field == 25 and kind == _BYTES:
            functions.append((start, end))
        elif field == 20:
            raise ValueError("it holds training information")
    if len(graphs) != 1:
        raise ValueError(f"it holds {len(graphs)} graphs")
    start, end = graphs[0]
    inputs = tuple(_value(data, *span) for span in _all(data, start, end, 11))
    outputs = tuple(_value(data, *span) for span in _all(data, start, end, 12))
    given = {_text(data, *span) for held in _all(data, start, end, 5) for span in _all(data, *held, 8)}
    external = [*_in_graph(data, start, end, _DEEPEST)]
    for span in functions:
        external += [found for node in _all(data, *span, 7) for found in _in_node(data, *node, _DEEPEST)]
    return OnnxFile(tuple(own for own in inputs if own.name not in given), outputs, tuple(external))


def _in_graph(data: Buffer, start: int, end: int, depth: int) -> Iterator[External]:
    if data.find(_LOCATION, start, end) < 0:
        return
    if not depth:
        raise ValueError("its graphs are nested too deep")
    for field, kind, first, last in _fields(data, start, end):
        if kind == _BYTES and field == 1:
            yield from _in_node(data, first, last, depth)
        elif kind == _BYTES and field == 5:
            yield from _tensor(data, first, last)
        elif kind == _BYTES and field == 15:
            yield from _sparse(data, first, last)


def _in_node(data: Buffer, start: int, end: int, depth: int) -> Iterator[External]:
    if data.find(_LOCATION, start, end) < 0:
        return
    for attribute in _all(data, start, end, 5):
        for field, kind, first, last in _fields(data, *attribute):
            if kind == _BYTES and field in (5, 10):
                yield from _tensor(data, first, last)
            elif kind == _BYTES and field in (6, 11):
                yield from _in_graph(data, first, last, depth - 1)
            elif kind == _BYTES and field in (22, 23):
                yield from _sparse(data, first, last)


def _sparse(data: Buffer, start: int, end: int) -> Iterator[External]:
    for field, kind, first, last in _fields(data, start, end):
        if kind == _BYTES and field in (1, 2):
            yield from _tensor(data, first, last)


def _tensor(data: Buffer, start: int, end: int) -> Iterator[External]:
    """The tensor, if its data lies elsewhere or might."""
    name, elements, width, outside = "", 1, -1, False
    entries: dict[str, str] = {}
    for field, kind, first, last in _fields(data, start, end):
        if field == 1:  # dimensions, packed or one by one
            for size in _numbers(data, kind, first, last):
                elements *= min(size, 1 << 62)
                if elements > 1 << 62:
                    raise ValueError("a tensor is larger than any file")
        elif field == 2 and kind == _VARINT:
            width = BYTES.get(first, -1)
        elif field == 8 and kind == _BYTES:
            name = _text(data, first, last)
        elif field == 14 and kind == _VARINT:
            outside = bool(first)
        elif field == 13 and kind == _BYTES:
            key, value = (
                "".join(_text(data, *span) for span in _all(data, first, last, part)) for part in (1, 2)
            )
            if key in entries:
                raise ValueError(f"the tensor {name!r} says its {key!r} twice")
            entries[key] = value
    if outside or entries:
        size = elements * width if width > 0 else -1
        place, length = (
            _count(entries.get(key, missing)) for key, missing in (("offset", "0"), ("length", ""))
        )
        yield External(name, size, entries.get("location", ""), max(place, 0), length)


def _count(digits: str) -> int:
    if not digits:
        return -1
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        raise ValueError("an offset or length of external data is no number")
    return int(digits)


def _value(data: Buffer, start: int, end: int) -> GraphTensor:
    name, element, shape = "", 0, []
    for field, kind, first, last in _fields(data, start, end):
        if field == 1 and kind == _BYTES:
            name = _text(data, first, last)
        elif field == 2 and kind == _BYTES:
            for held in _all(data, first, last, 1):  # of tensors alone
                element = next(
                    (number for f, k, number, _ in _fields(data, *held) if (f, k) == (1, _VARINT)), 0
                )
                sizes = [size for own in _all(data, *held, 2) for size in _all(data, *own, 1)]
                shape = [_side(data, *size) for size in sizes]
    return GraphTensor(name, element, tuple(shape))


def _side(data: Buffer, start: int, end: int) -> int | str:
    side: int | str = ""
    for field, kind, first, last in _fields(data, start, end):
        if field == 1 and kind == _VARINT:
            side = first
        elif field == 2 and kind == _BYTES:
            side = _text(data, first, last)
    return side


def _all(data: Buffer, start: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Where the messages or texts of one field lie."""
    for field, kind, first, last in _fields(data, start, end):
        if field == wanted and kind == _BYTES:
            yield first, last


def _fields(data: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Each field's number and wire type, and where its bytes lie; of numbers, the number itself and 0."""
    while start < end:
        tag, start = _varint(data, start, end)
        field, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            number, start = _varint(data, start, end)
            yield field, kind, number, 0
            continue
        if kind == _BYTES:
            length, start = _varint(data, start, end)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError("it is no ONNX file")
        if length > end - start:
            raise ValueError("it is cut off, or no ONNX file")
        yield field, kind, start, start + length
        start += length


def _numbers(data: Buffer, kind: int, first: int, last: int) -> Iterator[int]:
    """The whole numbers of a repeated field, packed or not."""
    if kind == _VARINT:
        yield first
    while kind == _BYTES and first < last:
        number, first = _varint(data, first, last)
        yield number


def _varint(data: Buffer, start: int, end: int) -> tuple[int, int]:
    number = shift = 0
    while start < end and shift < 70:
        byte = data[start]
        start += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, start
        shift += 7
    raise ValueError("it is cut off, or no ONNX file")


def _text(data: Buffer, start: int, end: int) -> str:
    return data[start:end].decode("utf-8", "replace")
