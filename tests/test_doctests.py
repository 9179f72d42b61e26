"""Examples in docstrings do what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"edgeflow": "edgeflow", **{name: f"edgeflow.{name}" for name in ("export", "runtime", "targets")}}
"""Folders of code (edgeflow's own links are not followed), and the names they are imported by."""


def modules():
    for folder, package in FOLDERS.items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            if ">>> " in file.read_text():
                parts = file.relative_to(ROOT / folder).with_suffix("").parts
                yield ".".join((package, *(part for part in parts if part != "__init__")))


FOUND = sorted(set(modules()))


@pytest.mark.parametrize("name", FOUND)
def test_examples(name):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried and not failed


def test_there_are_examples():
    assert {
        "edgeflow.runtime.stream.policy",
        "edgeflow.runtime.stream.batching",
        "edgeflow.targets.nvidia",
    } <= set(FOUND)
