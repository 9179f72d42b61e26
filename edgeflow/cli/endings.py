"""How a command ends when it is asked to: Ctrl-C, `kill`, a closed terminal, `timeout`, systemd and docker all end it the same clean way.

It is imported before all else, and imports only what Python has loaded by then: until `heed` a signal ends in Python's own words.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

_ENDS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_SOON = 0.02
"""Seconds after which a lost signal is sent again: the finalizer is over by then, mostly."""
_asked: list[int] = []
_said: list[str] = []
GO_ON = "run the same command again to go on where it stopped"


class Ended(KeyboardInterrupt):
    """A signal asked the process to end."""


def heed() -> None:
    """From now on every signal that asks to end raises `Ended` once; a second one of its kind ends at once.

    What is ignored stays ignored: `nohup` asks for that.
    """
    _said.clear()
    for number in _ENDS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end)
    sys.unraisablehook = _once_more


def asked() -> bool:
    """Whether a signal came: libraries that are being imported turn it into errors of their own."""
    return bool(_asked)


def code() -> int:
    """The exit code that shells use for the signal that came."""
    return 128 + (_asked[0] if _asked else signal.SIGINT)


def _end(number: int, frame: FrameType | None) -> None:
    _asked.append(number)
    signal.signal(number, signal.SIG_DFL)
    raise Ended


def _once_more(lost: Any) -> None:
    """Send a signal again that came where nothing can be raised, such as in a finalizer; Python would go on as if it had not come."""
    if lost.exc_type is not Ended or not _asked:
        sys.__unraisablehook__(lost)
        return
    from threading import Timer

    number = _asked.pop()
    signal.signal(number, _end)
    Timer(_SOON, os.kill, (os.getpid(), number)).start()


def say(then: str = "") -> None:
    """Say once that the command was interrupted, and what to do then, without anything that may not be imported yet."""
    if _said:
        return
    _said.append(then)
    try:
        sys.stderr.write(f"edgeflow: interrupted{'; ' if then else ''}{then}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # the terminal is gone
