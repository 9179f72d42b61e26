"""Measured costs: how long every engine takes at every static batch size on one device.

They lie beside the bundle's other files as `profile/KEY.json`, one file per device, engine library,
version and number of threads, and are not among the manifest's files: they may be added later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from edgeflow.ir.bundle.json_file import read_beside, write_beside
from edgeflow.ir.bundle.schema import number, record, table, text, whole


@dataclass(frozen=True)
class Device:
    """What a measurement holds for.

    Attributes:
        name: of the processor.
        threads: that the engines use.
        library: engine library.
        version: of the library.
        precision: that the engines were built for.
    """

    name: str
    threads: int
    library: str
    version: str
    precision: str = "fp32"

    @property
    def key(self) -> str:
        """A file name for it."""
        text = f"{self.name} {self.threads} {self.library} {self.version} {self.precision}".lower()
        return re.sub(r"[^a-z0-9.]+", "-", text).strip("-")


@dataclass(frozen=True)
class Costs:
    """Milliseconds of one run.

    Attributes:
        device: what they hold for.
        ms: per key of a plan's graph (`StageGraph.key`), per batch size.
    """

    device: Device
    ms: Mapping[str, Mapping[int, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Roofline:
    """What a run is taken to cost before it was measured: `launch_ms`, and the slower of computing and moving.

    Attributes:
        gflops: rate of the device's convolutions, in 10^9 per second.
        gbytes: rate of its memory, in 10^9 bytes per second.
        launch_ms: of one run, beside its work.

    Source: Williams et al., Roofline: An Insightful Visual Performance Model (2009).
    """

    gflops: float
    gbytes: float
    launch_ms: float

    def ms(self, flops: float, moved: float) -> float:
        """Milliseconds of one run of so many FLOPs that moves so many bytes."""
        return self.launch_ms + max(flops / self.gflops, moved / self.gbytes) / 1e6


_ADVICE = "delete it and run `edgeflow profile`"
DEVICE = record(
    {"name": text(), "threads": whole(1, 1 << 20), "library": text(), "version": text()},
    {"precision": text()},
)
"""A `Device` as plain data."""
_SCHEMA = record(
    {
        "device": DEVICE,
        "ms": table(text(2000), table(text(8, r"\d{1,6}", "a batch size"), number(0, 1e9), 4096), 100_000),
    },
    {"by": text(100)},
)


def save_costs(bundle: Path, costs: Costs, by: str = "profile") -> Path:
    """Write costs into a bundle; those it knew of other graphs of the same device stay.

    Args:
        bundle: its folder.
        costs: what was measured.
        by: the command that measured them: an export writes its own anew, others' would be missed.

    Raises:
        BundleError: the bundle cannot be written to.
    """
    known = load_costs(bundle, costs.device)
    ms = {**(known.ms if known else {}), **costs.ms}
    path = _place(bundle, costs.device)
    data = {
        "by": by,
        "device": asdict(costs.device),
        "ms": {key: dict(found) for key, found in sorted(ms.items())},
    }
    write_beside(path, data)
    return path


def load_costs(bundle: Path, device: Device) -> Costs | None:
    """The costs measured on this device, or None.

    Raises:
        BundleError: the file is damaged.
    """
    known = _read(_place(bundle, device))
    return known if known is not None and known.device == device else None


def all_costs(bundle: Path) -> list[Costs]:
    """The costs measured on any device.

    Raises:
        BundleError: a file is damaged.
    """
    found = [_read(path) for path in sorted((bundle / "profile").glob("*.json"))]
    return [costs for costs in found if costs is not None]


def _read(path: Path) -> Costs | None:
    data = read_beside(path, _SCHEMA, _ADVICE)
    if data is None:
        return None
    ms = {
        key: {int(batch): float(took) for batch, took in found.items()} for key, found in data["ms"].items()
    }
    return Costs(Device(**data["device"]), ms)


def _place(bundle: Path, device: Device) -> Path:
    return bundle / "profile" / f"{device.key}.json"
