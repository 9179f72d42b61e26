"""Edgeflow's commands on one bundle over the doubles, one after another in one process: python bundle_commands.py REPORT COMMANDS.

COMMANDS is a JSON list of [name, [argument, ...]]. REPORT gets a JSON object: what each said that failed, by name; empty for
those that ended with 0. How long a double takes means nothing, so engines are timed by few runs, and no pause is kept.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

import edgeflow.runtime.device
import edgeflow.runtime.measure.profile
from edgeflow.cli import main

edgeflow.runtime.device.RUNS = 2
edgeflow.runtime.measure.profile.PAUSE_S = 0.1


def failure(arguments: list[str]) -> str:
    """What a command said if it failed; empty if it ended with 0."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(arguments)
        except SystemExit as end:
            if end.code in (None, 0):
                return ""
            lines = [line for line in said.getvalue().splitlines() if line.strip()]
            return f"rc {end.code}: {' '.join(lines[-4:])[-400:]}"
    return ""


if __name__ == "__main__":
    report, commands = Path(sys.argv[1]), json.loads(sys.argv[2])
    done = {}
    for name, arguments in commands:
        done[name] = failure(arguments)
        report.write_text(json.dumps(done))
