"""Schemas of plain data: every fault is found, with its place, and values are quoted shortly."""

from __future__ import annotations

import pytest

from edgeflow.ir.bundle.schema import (
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

INF = float("inf")


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (whole(1, 8), (1, 8), (0, 9, True, 1.0, "1", None, 10**30)),
        (number(0, 1), (0, 1, 0.5), (-0.1, float("nan"), INF, True, "0")),
        (number(), (INF, -INF, 10**300), (float("nan"),)),
        (text(3), ("", "abc", "a\n"), ("abcd", "\x1b[J", "\ud800", 3, None)),
        (text(9, r"\w+"), ("añ",), ("", "a b")),
        (truth, (True, False), (0, 1, None)),
        (one_of("a", "b"), ("a",), ("c", None, [])),
        (nullable(truth), (None, True), (0,)),
        (any_of("it", truth, whole(1, 2)), (True, 2), (3, "x")),
        (each(truth, 2, 1), ([True], [True, False]), ([], [True] * 3, True, {}, [0])),
        (row(truth, whole(0, 1)), ([True, 1],), ([True], [1, 1], [True, 1, 1])),
        (
            record({"a": truth}, {"b": truth}),
            ({"a": True}, {"a": True, "b": False}),
            ({}, {"a": 1}, {"a": True, "c": 1}, []),
        ),
        (table(text(1), truth, 1), ({}, {"a": True}), ({"ab": True}, {"a": 1}, {"a": True, "b": True}, [])),
        (
            tagged("kind", {"x": record({})}),
            ({"kind": "x"},),
            ({"kind": "y"}, {}, [], {"kind": []}, {"kind": "x", "more": 1}),
        ),
        (plain(1), (1, "a", None, [1, "a"], {"a": None}), ([[1]], {"a": {}})),
    ],
)
def test_what_a_schema_takes_and_refuses(schema, good, bad):
    assert not [fault for data in good for fault in schema(data, "x")]
    for data in bad:
        faults = list(schema(data, "x"))
        assert faults and all(fault.startswith("x") and len(fault) < 300 for fault in faults), data


def test_every_fault_is_named_with_its_place():
    schema = record({"list": each(record({"n": whole(0, 9)}), 9), "flag": truth})
    data = {"list": [{"n": 1}, {"n": -1}, {"m": 1}], "flag": 0}
    assert list(schema(data, "")) == [
        "list[1].n: a whole number from 0 to 9 is wanted, got -1",
        "list[2].n is missing",
        "list[2].m is no field of it",
        "flag: true or false is wanted, got 0",
    ]


def test_values_are_quoted_on_one_short_line():
    for data in ("a\nb" * 100, 10**24, [1] * 10**6, {"a": 1}, None, True, 0.1, "\x1b[2J"):
        assert len(short(data)) < 150 and short(data).isprintable()
    assert [short(data) for data in (1, 1.0, True, None)] == ["1", "1.0", "true", "null"]
