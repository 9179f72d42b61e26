"""What routing was worth on one device: a clip's calls beside those of the full static model.

It lies in the bundle as `profile/beside/DEVICE/CLIP.json` (`Device.key`, the latest measurement of each clip), and is not among the
manifest's files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeflow.ir.bundle.costs import DEVICE, Device
from edgeflow.ir.bundle.json_file import read_beside, write_beside
from edgeflow.ir.bundle.schema import each, number, record, row, table, text, whole

FOLDER = Path("profile") / "beside"
_ADVICE = "delete it and run `edgeflow profile --clip`"


@dataclass(frozen=True)
class Beside:
    """A clip's calls.

    Attributes:
        device: that ran them.
        clip: name of the video.
        size: (width, height) of its frames, in pixels.
        calls: that were timed.
        routes: share of the clip's regions that took each route.
        full: the full static model, in words: its whole frame, or all tiles, whichever is cheaper.
        routed_ms: median time of the calls that both were timed on.
        full_ms: the same of the full static model, in turn; None of a model that decides nothing, or of too few calls.
        advice: what would help a bundle that is slower; empty of one that is not.
    """

    device: Device
    clip: str
    size: tuple[int, int]
    calls: int
    routes: Mapping[str, float]
    full: str
    routed_ms: float
    full_ms: float | None
    advice: tuple[str, ...]

    @property
    def in_words(self) -> str:
        """Both times and their ratio."""
        if self.full_ms is None:
            return f"a call takes {self.routed_ms:.1f} ms"
        return (
            f"a call takes {self.routed_ms:.1f} ms, as the full static model ({self.full}) {self.full_ms:.1f}: "
            f"{self.full_ms / self.routed_ms:.2f}x as fast (medians, in turn)"
        )

    @property
    def loss(self) -> str | None:
        """What to say of a bundle that is slower than its full static model; None of one that is not."""
        return (
            f"routing loses on this clip. What would help: {'; '.join(self.advice)}" if self.advice else None
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


_SCHEMA = record(
    {
        "device": DEVICE,
        "clip": text(1000),
        "size": row(whole(1, 1 << 20), whole(1, 1 << 20)),
        "calls": whole(1, 1 << 40),
        "routes": table(text(10_000), number(0, 1), 100_000),
        "full": text(10_000),
        "routed_ms": number(0, 1e9),
        "full_ms": number(0, 1e9),
        "advice": each(text(1000), 100),
    }
)


def save_beside(bundle: Path, found: Beside) -> None:
    """Keep in a bundle what routing was worth; nothing of a model that has no full static form beside it.

    Raises:
        BundleError: the bundle cannot be written to.
    """
    if found.full_ms is not None:
        printable = "".join(c if c.isprintable() else "?" for c in found.clip)
        path = bundle / FOLDER / found.device.key / f"{_file_name(found.clip)}.json"
        write_beside(path, {**found.to_json(), "clip": printable})


def _file_name(clip: str) -> str:
    """The clip's name in plain letters; where that is not all of it, a hash tells it from others."""
    plain = re.sub(r"[^a-z0-9.]+", "-", clip.lower())[:100]
    if plain == clip:
        return plain
    return f"{plain}-{hashlib.sha256(clip.encode(errors='surrogatepass')).hexdigest()[:8]}"


def all_beside(bundle: Path) -> list[Beside]:
    """What routing was worth, of every device and clip.

    Raises:
        BundleError: a file is damaged.
    """
    read = (read_beside(path, _SCHEMA, _ADVICE) for path in sorted((bundle / FOLDER).glob("*/*.json")))
    return [_of(data) for data in read if data is not None]


def _of(data: dict[str, Any]) -> Beside:
    width, height = data["size"]
    lists = {"size": (width, height), "advice": tuple(data["advice"])}
    return Beside(**{**data, **lists, "device": Device(**data["device"])})
