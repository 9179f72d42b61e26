"""How a bundle runs best on one machine, as `edgeflow tune` found it.

It lies in the bundle as `profile/tuned/KEY.json`, one file for each processor, and is not among the manifest's files.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeflow.ir.bundle.json_file import read_beside, write_beside
from edgeflow.ir.bundle.schema import each, number, record, text, whole
from edgeflow.ir.errors import BundleError

FOLDER = Path("profile") / "tuned"
_ADVICE = "let go of it by `edgeflow tune --forget`"


@dataclass(frozen=True)
class Tuned:
    """What a command uses where nothing else is asked for.

    Attributes:
        library: engine library.
        threads: CPU threads.
        fix: decisions that are fixed, each as `axis=value`.
        quality: weight of quality against time; None if it is not steered by that.
    """

    library: str
    threads: int
    fix: tuple[str, ...] = ()
    quality: float | None = None

    @property
    def options(self) -> str:
        """As they are given on the command line."""
        steered = [f"--fix {word}" for word in self.fix]
        steered += [] if self.quality is None else [f"--quality {self.quality:g}"]
        return " ".join([f"--library {self.library} --threads {self.threads}", *steered])


_SCHEMA = record(
    {
        "library": text(100),
        "threads": whole(1, 1 << 20),
        "fix": each(text(200), 100_000),
    },
    {"quality": number(0, 1)},
)


def save_tuned(bundle: Path, processor: str, tuned: Tuned) -> Path:
    """Keep a setting in a bundle, for one processor.

    Raises:
        BundleError: the bundle cannot be written to.
    """
    path = _place(bundle, processor)
    data = {name: value for name, value in asdict(tuned).items() if value is not None}
    write_beside(path, data)
    return path


def load_tuned(bundle: Path, processor: str) -> Tuned | None:
    """The setting kept for this processor, or None.

    Raises:
        BundleError: the file is damaged.
    """
    data = read_beside(_place(bundle, processor), _SCHEMA, _ADVICE)
    if data is None:
        return None
    return Tuned(data["library"], data["threads"], tuple(data["fix"]), data.get("quality"))


def forget_tuned(bundle: Path, processor: str) -> bool:
    """Let go of the setting kept for this processor, even a damaged one; whether there was one.

    Raises:
        BundleError: the bundle cannot be written to.
    """
    path = _place(bundle, processor)
    if not path.exists():
        return False
    try:
        path.unlink()
    except OSError as error:
        raise BundleError(f"cannot remove {path}: {error.strerror}; make the bundle writable") from error
    return True


def _place(bundle: Path, processor: str) -> Path:
    key = re.sub(r"[^a-z0-9.]+", "-", processor.lower()).strip("-")
    return bundle / FOLDER / f"{key}.json"
