"""Docs say what is there: made pages are as the code makes them, public names are listed, and what the README tells works."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import edgeflow.flow
import edgeflow.runtime
import edgeflow.targets
from edgeflow.cli import main
from edgeflow.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

PUBLIC = {
    edgeflow.flow: (
        "Argmax Axis Clip ConfidenceBelow Cost DriftAbove Eager FirstNonZero Flow Image KeyFrameInterval Made Nearest Priced "
        "RoutedModule Scored Spread Table Task Tensor Training cost trace"
    ),
    edgeflow.runtime: "Fixed Mix Own Quality Result Rules Session Trace open_bundle",
    edgeflow.targets: "OPERATOR_FORMS Target load names numbers",
}
"""What may be relied on: a name that goes, or comes, is a line in the changelog."""


def reference() -> Any:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "made" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["commands.md", "parts.md"])
def test_made_pages_are_as_the_code_makes_them(page):
    wanted = reference().PAGES[page]()
    assert (ROOT / "docs" / page).read_text() == wanted, "run `make docs`, or python docs/made/reference.py"


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_public_names(module):
    found = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, type(sys)) and name != "annotations"
    }
    assert found == set(PUBLIC[module].split())
    undocumented = [
        name for name in found if callable(getattr(module, name)) and not getattr(module, name).__doc__
    ]
    assert not undocumented


def test_every_page_is_in_the_site():
    listed = (ROOT / "mkdocs.yml").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if page.name not in listed] == []


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```(?:\w*)\n(.*?)^```", page.read_text(), flags=re.M | re.S)


def told() -> list[tuple[str, list[str]]]:
    """Every command of edgeflow that a page tells to run, by its page."""
    found = []
    for page in PAGES:
        for line in (line for block in blocks(page) for line in block.splitlines()):
            for part in re.split(r"\s[|]\s|&&", line.split(" #")[0]):
                if part.strip().startswith("edgeflow ") and "[" not in part:
                    found.append((page.name, shlex.split(part.strip())[1:]))
    return found


def test_commands_in_the_docs_have_the_options_that_they_are_given():
    assert len(told()) > 20
    for page, words in told():
        command: Any = typer.main.get_command(app)
        words = list(words)
        while hasattr(command, "list_commands") and words:
            inside = command.get_command(typer.Context(command), words[0])
            if inside is None:
                break
            command, _ = inside, words.pop(0)
        known = {
            name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)
        }
        wanted = {word.split("=")[0] for word in words if word.startswith("--")}
        assert wanted <= known | {"--help"}, f"{page}: edgeflow {' '.join(words)}"


def test_the_readmes_five_minutes_work(tmp_path, monkeypatch, clip, capsys):
    (block,) = [block for block in blocks(ROOT / "README.md") if "edgeflow inspect cain.edgeflow" in block]
    lines = [line.split(" #")[0].strip() for line in block.splitlines() if line.startswith("edgeflow ")]
    assert len(lines) == 6
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.mp4").symlink_to(clip)
    for line in lines:
        words = shlex.split(line.replace("--preset small", "--preset tiny"))[1:]
        with pytest.raises(SystemExit) as stopped:
            main(words)
        assert not stopped.value.code, f"{line}: {capsys.readouterr().err}"
    assert {path.name for path in tmp_path.iterdir()} >= {
        "cain.edgeflow",
        "out.mp4",
        "routes.mp4",
        "profile.json",
    }
