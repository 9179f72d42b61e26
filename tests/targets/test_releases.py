"""What a target says of its library's releases, and what an installation brings, agree."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

import pytest

from edgeflow.targets import load, numbers

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize("name", ["cpu", "openvino-cpu"])
def test_the_range_of_a_target_holds_what_is_installed_and_begins_where_the_project_does(name):
    target = load(name)
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    (wanted,) = extras[target.library]
    assert re.fullmatch(rf"{target.library}>=([\d.]+)", wanted)[1] == target.minimum
    installed = numbers(metadata.version(target.library))[:2]
    assert numbers(target.minimum) <= installed <= numbers(target.versions[-1]), (
        f"{target.library} {metadata.version(target.library)} is installed: "
        f"run the tests with it, then say so in targets/{name}.toml"
    )
