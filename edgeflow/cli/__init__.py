"""The command line: `edgeflow export | build | check | run | profile | inspect | targets | sys | train`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from edgeflow.cli import endings


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 misused, 128 and the signal's number if one ended it (130 for Ctrl-C).

    Args:
        arguments: those of the process if None.
    """
    try:
        endings.heed()
        from edgeflow.cli.commands import main as run
    except BaseException:
        if not endings.asked():
            raise
        endings.say()
        sys.exit(endings.code())
    run(arguments)
