"""The entry point: one-line errors, exit codes, and the commands."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import typer

import edgeflow
from edgeflow import __version__
from edgeflow.cli import (
    batch,
    build,
    cache,
    check,
    compress,
    diff,
    endings,
    evaluate,
    export,
    inspect,
    profile,
    run,
    sys_info,
    targets,
    train,
    tune,
    watch,
    wrap,
)
from edgeflow.cli.console import err
from edgeflow.cli.plain_help import PlainCommand, PlainGroup
from edgeflow.ir.errors import EdgeflowError
from edgeflow.ir.installing import with_extras

app = typer.Typer(
    cls=PlainGroup,
    help="Compile video networks whose compute depends on their input, and run them where they are needed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgeflow {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
    ),
    debug: bool = typer.Option(
        False, "--debug", help="Show the traceback of an error. May stand anywhere on the line."
    ),
) -> None:
    """Compile video networks whose compute depends on their input, and run them where they are needed."""


app.command("export", cls=PlainCommand)(export.export)
app.command("build", cls=PlainCommand)(build.build)
app.command("check", cls=PlainCommand)(check.check)
app.command("run", cls=PlainCommand)(run.run)
app.command("batch", cls=PlainCommand)(batch.batch)
app.command("watch", cls=PlainCommand)(watch.watch)
app.command("profile", cls=PlainCommand)(profile.profile)
app.command("eval", cls=PlainCommand)(evaluate.evaluate)
app.command("tune", cls=PlainCommand)(tune.tune)
app.command("diff", cls=PlainCommand)(diff.diff)
app.command("inspect", cls=PlainCommand)(inspect.inspect)
app.add_typer(targets.app, name="targets")
app.command("cache", cls=PlainCommand)(cache.cache)
app.command("sys", cls=PlainCommand)(sys_info.sys_info)
app.add_typer(train.app, name="train")
app.command("compress", cls=PlainCommand)(compress.compress)
app.command("wrap", cls=PlainCommand)(wrap.wrap)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit, see `edgeflow.cli`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        app([a for a in given if a != "--debug"], "edgeflow")
    except SystemExit:
        if endings.asked():  # the argument parser ends an interrupted command itself, and as if by Ctrl-C
            endings.say()
            sys.exit(endings.code())
        raise
    except EdgeflowError as error:
        _fail(str(error), debug)
    except KeyboardInterrupt:
        endings.say()
        sys.exit(endings.code())
    except ModuleNotFoundError as error:
        _fail(f"this command needs {error.name}, which is not installed: {with_extras('all')}", debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left to print would fail once more
        sys.exit(1)
    except MemoryError:
        _fail("out of memory: use a smaller preset, or a machine with more memory", debug)
    except OSError as error:
        name = f" {error.filename}" if error.filename else ""
        _fail(f"cannot use{name}: {error.strerror or error}; check the path and the space left", debug)
    except Exception as error:  # ours to mend, but nobody should have to read a traceback
        if endings.asked():  # a library that was being imported took the signal for a fault
            endings.say()
            sys.exit(endings.code())
        _fail(f"{type(error).__name__}: {error} ({_whose(error)})", debug)


def _whose(error: Exception) -> str:
    """Whose fault an error is that nobody expected: that of the last line of a model's own file on the way to it, else ours."""
    ours = [Path(edgeflow.__file__).parent, Path(sys.prefix), Path(sys.base_prefix)]
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = Path(frame.f_code.co_filename)
        if file.is_file() and not any(file.is_relative_to(folder) for folder in ours):
            return f"in {file.name}, line {line}; --debug shows more"
    return "a fault of edgeflow: --debug shows where, please report it"


def _fail(message: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    line = " ".join(message.split())
    err.print(f"edgeflow: error: {line}", soft_wrap=True)
    sys.exit(1)
