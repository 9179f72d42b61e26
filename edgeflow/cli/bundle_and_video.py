"""A bundle and a video on one command line: which is which."""

from __future__ import annotations

from pathlib import Path

from edgeflow.ir.bundle import Bundle, open_bundle
from edgeflow.ir.bundle.manifest import MANIFEST
from edgeflow.ir.errors import InputError


def check_order(bundle: Path, video: str | Path | None) -> None:
    """Refuse a bundle in the video's place.

    Raises:
        InputError: says which comes first.
    """
    if video and (Path(video) / MANIFEST).is_file() and not (bundle / MANIFEST).is_file():
        raise InputError(f"{video} is a bundle, and {bundle} is none: give the bundle first, then the video")


def open_for(video: str | Path | None, bundle: Path) -> Bundle:
    """Open the bundle that a video is for.

    Raises:
        InputError: the two were given the other way round.
        BundleError: as `open_bundle`.
    """
    check_order(bundle, video)
    return open_bundle(bundle)
