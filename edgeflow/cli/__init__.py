"""The command line: `edgeflow export | build | check | run | batch | profile | inspect | targets | sys | train`."""

from __future__ import annotations

import sys

from edgeflow.cli import endings

TYPE_CHECKING = False  # as endings has it
if TYPE_CHECKING:
    from collections.abc import Sequence


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
