"""Docs say what is there: made pages are as the code makes them, public names are listed, and what the README tells works."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import edgeflow.flow
import edgeflow.runtime
import edgeflow.targets
from edgeflow.cli import main
from edgeflow.cli.commands import app
from edgeflow.ir.errors import EdgeflowError

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

PUBLIC = {
    edgeflow.flow: (
        "Argmax Axis Clip ConfidenceBelow Cost DriftAbove Eager FirstNonZero Flow Image KeyFrameInterval Made Nearest Priced "
        "RoutedModule Scored Spread Table Task Tensor Training cost trace"
    ),
    edgeflow.runtime: "Budget Fixed Mix Own Quality Result Rules Session Trace open_bundle",
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


def sections(page: str) -> dict[str, str]:
    """What stands under each heading of a page."""
    parts = re.split(r"^#+ (.*)$", (ROOT / "docs" / page).read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(command: Any, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "list_commands"):
        yield names, command
        return
    context = typer.Context(command)
    if command.invoke_without_command:
        yield names, command
    for name in command.list_commands(context):
        yield from commands(command.get_command(context, name), (*names, name))


def test_every_command_has_its_heading_and_every_option_its_row():
    pages, found = sections("commands.md"), 0
    for names, command in commands(typer.main.get_command(app), ("edgeflow",)):
        rows = pages[f"`{' '.join(names)}`"]
        for option in (one for one in command.params if one.param_type_name == "option" and not one.hidden):
            found += 1
            assert all(f"`{name}`" in rows for name in (*option.opts, *option.secondary_opts)), (
                names,
                option,
            )
    assert found > 50


def test_no_help_says_that_a_switch_takes_a_value():
    for _, command in commands(typer.main.get_command(app), ("edgeflow",)):
        switches = [o for o in command.get_params(typer.Context(command)) if getattr(o, "is_flag", False)]
        assert switches and {option.metavar for option in switches} == {""}


def kinds(base: type) -> Iterator[type]:
    for own in base.__subclasses__():
        yield own
        yield from kinds(own)


def test_every_error_has_its_row():
    rows = sections("parts.md")["Errors"]
    ours = {own.__name__ for own in kinds(EdgeflowError) if own.__module__.startswith("edgeflow.")}
    assert len(ours) > 8 and {name for name in ours if f"| `{name}` |" not in rows} == set()


def documented(module: Any, name: str) -> bool:
    """Whether the page of the API has a public name: alone, among a module's members, or in a module as a whole."""
    value, text = getattr(module, name), (ROOT / "docs" / "api.md").read_text()
    named = {member for listed in re.findall(r"members: \[(.*)\]", text) for member in listed.split(", ")}
    named |= {path.rpartition(".")[2] for path in re.findall(r"^::: (\S+)$", text, flags=re.M)}
    whole = re.findall(r"^::: (\S+)\n(?! )", text, flags=re.M)
    return name in named or getattr(value, "__module__", None) in whole


def test_every_public_name_has_its_heading():
    found = [(module.__name__, name) for module in PUBLIC for name in PUBLIC[module].split()]
    assert [where for where in found if not documented(sys.modules[where[0]], where[1])] == []


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_readmes_five_minutes_work(tmp_path, monkeypatch, clip, capsys):
    (block,) = [block for block in blocks(ROOT / "README.md") if "edgeflow inspect rife.edgeflow" in block]
    lines = [line.split(" #")[0].strip() for line in block.splitlines() if line.startswith("edgeflow ")]
    assert len(lines) == 10
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.mp4").symlink_to(clip)
    for line in lines:
        words = shlex.split(line.replace("export rife", "export rife --preset tiny"))[1:]
        with pytest.raises(SystemExit) as stopped:
            main(words)
        assert not stopped.value.code, f"{line}: {capsys.readouterr().err}"
    assert {path.name for path in tmp_path.iterdir()} >= {
        "rife.edgeflow",
        "out.mp4",
        "routes.mp4",
        "profile.json",
    }
