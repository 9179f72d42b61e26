"""Where edgeflow keeps what it can always make again, from one run to the next."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "EDGEFLOW_CACHE"
"""Environment variable that names another folder; empty for none."""


def cache_folder(part: str) -> Path | None:
    """A folder in `$EDGEFLOW_CACHE`, else in `edgeflow` in the user's cache folder; None for nowhere.

    Args:
        part: its name; it may not be there yet.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        return Path(chosen) / part if chosen else None
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(base).expanduser() / "edgeflow" / part
    except RuntimeError:  # no home
        return None
