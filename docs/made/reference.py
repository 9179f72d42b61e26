"""Writes the reference pages that follow from the code: `docs/commands.md` and `docs/parts.md`.

`make docs` runs it; a test holds the pages to what it writes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import typer

DOCS = Path(__file__).parents[1]
MADE = "<!-- made by docs/made/reference.py; edit the code that it is made from -->\n\n"


def commands() -> str:
    """Every command with its arguments and options, as its help says."""
    from edgeflow.cli.commands import app

    group: Any = typer.main.get_command(app)
    lines = ["# Command line\n", group.help, "\nExit codes: 0 done, 1 failed, 2 misused, 130 interrupted.\n"]
    for names, command in _leaves(group, ("edgeflow",)):
        lines += [f"## `{' '.join(names)}`\n", inspect.cleandoc(command.help or ""), ""]
        rows = [row for parameter in command.params if (row := _parameter(parameter))]
        lines += [*_table(("option", "what"), rows), ""]
    return MADE + "\n".join(lines).rstrip() + "\n"


def _leaves(command: Any, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "list_commands"):
        yield names, command
        return
    context = typer.Context(command)
    if command.invoke_without_command:
        yield names, command
    for name in command.list_commands(context):
        yield from _leaves(command.get_command(context, name), (*names, name))


def _parameter(parameter: Any) -> tuple[str, str] | None:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name}`", parameter.help or ""
    if parameter.hidden:
        return None
    spelt = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    return spelt, parameter.help or ""


@dataclass(frozen=True)
class Table:
    """A heading, what stands under it, and a table."""

    title: str
    about: str
    head: Sequence[str]
    rows: Iterable[Sequence[str]]


def parts() -> str:
    """Tables of what is found by name, edgeflow's own and that of installed packages."""
    lines = ["# Parts\n", "What edgeflow finds by name, its own and that of installed packages.\n"]
    for make in PARTS:
        table = make()
        lines += [f"## {table.title}\n", table.about, "", *_table(table.head, table.rows), ""]
    return MADE + "\n".join(lines).rstrip() + "\n"


def _families() -> Table:
    from edgeflow.models import families

    about = "One folder each in `edgeflow/models` ([adding a model](adding_a_model.md))."
    rows = [
        (f"`{f.name}`", f.about, ", ".join(f.presets), ", ".join(f.variants)) for f in families().values()
    ]
    return Table("Families", about, ("family", "what", "presets", "variants"), rows)


def _targets() -> Table:
    from edgeflow.targets import load, names

    about = "One TOML file each in `targets` ([adding a target](adding_a_target.md))."
    rows = [(f"`{t.name}`", t.description, t.library, ", ".join(t.precisions)) for t in map(load, names())]
    return Table("Targets", about, ("target", "what", "library", "precisions"), rows)


def _libraries() -> Table:
    from edgeflow.ir.libraries import OURS

    about = "One descriptor each in `edgeflow/ir/libraries.py`."
    rows = [(f"`{own.name}`", own.install) for own in OURS]
    return Table("Engine libraries", about, ("library", "how to get it"), rows)


def _rules() -> Table:
    from edgeflow.ir.rules import rules

    about = "One file each in `edgeflow/ir/rules` ([adding a rule](adding_a_rule.md)); the word is that of `--policy AXIS=WORD`."
    rows = [(f"`{own.__name__}`", f"`{own.spelling()}`", _first(own)) for own in rules().values()]
    return Table("Decision rules", about, ("rule", "word", "what"), rows)


def _policies() -> Table:
    from edgeflow.runtime.stream import budget, policy

    about = "What a session makes of the model's decisions, `Session(bundle, policy=...)`."
    rows = [
        (f"`{own.__name__}`", _first(own))
        for module in (policy, budget)
        for own in _classes(module, policy.Policy)
    ]
    return Table("Policies", about, ("policy", "what"), rows)


def _operators() -> Table:
    from edgeflow.export.operators import operators

    about = "One file each in `export/operators` ([adding an operator](adding_an_operator.md))."
    rows = [
        (f"`{own.name}`", own.plugin.node if own.plugin else "", "yes" if _has_kernel(own) else "")
        for own in operators()
    ]
    return Table("Operators", about, ("operator", "plugin node", "native kernel"), rows)


def _rewrites() -> Table:
    from edgeflow.export.passes import PASSES

    about = "One file each in `export/passes`; a target's `rewrites` names those that pay for its library."
    rows = [(f"`{name}`", _first(import_module(pass_.__module__))) for name, pass_ in PASSES.items()]
    return Table("Graph rewrites", about, ("rewrite", "what"), rows)


def _forms() -> Table:
    about = "One subject a file in `export/forms` ([operators](operators.md))."
    subjects = _modules("edgeflow.export.forms")
    rows = [(f"`{module.__name__.rsplit('.', 1)[1]}`", _first(module)) for module in subjects]
    return Table("ONNX forms of torch operators", about, ("subject", "what"), rows)


def _errors() -> Table:
    from edgeflow.ir import errors

    about = "All are `EdgeflowError`; the command line prints them in one line."
    rows = [(f"`{own.__name__}`", _first(own)) for own in _classes(errors, errors.EdgeflowError)]
    return Table("Errors", about, ("error", "what"), rows)


PARTS = (_families, _targets, _libraries, _rules, _policies, _operators, _rewrites, _forms, _errors)


def _has_kernel(operator: Any) -> bool:
    return operator.kernel.__name__ != "<lambda>"


def _classes(module: Any, base: type) -> list[type]:
    found = [own for own in vars(module).values() if isinstance(own, type) and base in own.__mro__]
    return [own for own in found if own is not base and own.__module__ == module.__name__]


def _modules(package: str) -> list[Any]:
    path = import_module(package).__path__
    return [import_module(f"{package}.{found.name}") for found in iter_modules(path)]


def _first(documented: Any) -> str:
    """The first sentence of a docstring."""
    text = " ".join(inspect.getdoc(documented).split("\n\n")[0].split())
    return text.rstrip(".") if ". " not in text else text


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    filled = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    if not filled:
        return []
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in filled),
    ]


PAGES = {"commands.md": commands, "parts.md": parts}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (DOCS / page).write_text(make())
