"""What a bundle makes of a film: whether it makes one, and what tells its pictures from another's."""

from __future__ import annotations

from edgeflow.ir.bundle import MANIFEST, Bundle
from edgeflow.ir.errors import InputError
from edgeflow.ir.files import sha256_of
from edgeflow.runtime.video.writing.destination import is_film
from edgeflow.runtime.video.writing.pictures import are_pictures

PICTURES = frozenset({"image", "mask"})
"""Kinds of outputs that a film is made of."""


def check_task(bundle: Bundle, faster: object, overlay: bool, output: str) -> None:
    """Refuse a bundle whose calls are not those of a film, or what its task does not make.

    Args:
        bundle: that makes it.
        faster: whether another frame rate is asked for.
        overlay: whether something is to be drawn.
        output: path of the result.

    Raises:
        InputError: says which, and what to do.
    """
    task, plan = bundle.manifest.task, next(iter(bundle.manifest.plans.values()))
    kinds = {made.kind for made in task.outputs}
    if not task.offsets or not kinds & {"image", "labels", "mask"}:
        names = ", ".join(spec.name for spec in plan.inputs)
        made = ", ".join(sorted(kinds))
        raise InputError(
            f"{bundle.path} takes ({names}) and makes ({made}): not one frame to translate or two to interpolate, nor "
            "another task that makes pictures, masks or labels of a film; declare it and export again, or use "
            "edgeflow.runtime.Session"
        )
    if overlay and not kinds & PICTURES and not is_film(output):
        raise InputError(
            f"--overlay draws on films, and {bundle.path} makes {', '.join(sorted(kinds))}: write to a film, such as out.mp4"
        )
    if faster and not task.between:
        raise InputError(
            f"--times, --fps and --spread are for models that interpolate; {bundle.path} leaves the frames' rate as it is"
        )


def digest(bundle: Bundle) -> str:
    """What tells a bundle from others: its manifest names the hashes of all its files."""
    return sha256_of(bundle.path / MANIFEST)


def mask_style(overlay: bool, output: str) -> str:
    """How masks are shown: see `edgeflow.runtime.video.masks.STYLES`."""
    if overlay:
        return "over"
    return "numbers" if are_pictures(output) else "colours"
