"""Trained weights of ST-MFNet that come with edgeflow: of networks, and of the router of a pair."""

from __future__ import annotations

import os
import tempfile
from hashlib import sha256
from pathlib import Path

from edgeflow.ir.cache_folder import cache_folder
from edgeflow.ir.files import sha256_of
from edgeflow.models.st_mfnet.model import PRESETS, Interpolator, Pair, build
from edgeflow.models.weights import load_weights, write_weights

PACKAGED = Path(__file__).parent / "pretrained"


def pretrained(preset: str, variant: str = "alone") -> Path | None:
    """The weights of a preset and variant that come with edgeflow, or None.

    Those of a pair are put together of its networks' and its router's, once, in the user's cache folder.
    """
    mini = PRESETS[preset].mini
    if variant == "alone" or mini is None:
        return _there(f"{preset}-alone")
    parts = [_there(name) for name in (f"{preset}-alone", f"{mini}-alone", f"{preset}-router")]
    larger, smaller, router = parts
    if larger is None or smaller is None or router is None:
        return None
    key = sha256("".join(map(sha256_of, (larger, smaller, router))).encode()).hexdigest()[:16]
    folder = cache_folder("weights") or Path(tempfile.gettempdir()) / f"edgeflow-{os.getuid()}"
    path = folder / f"st-mfnet-{preset}-{variant}-{key}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pair = build(preset, variant)
        assert isinstance(pair, Pair)
        load_networks(pair, preset, larger, smaller)
        load_weights(pair.difficulty, router)
        write_weights(pair, path, {"family": "st-mfnet", "preset": preset, "variant": variant}, half=False)
    return path


def load_networks(pair: Pair, preset: str, larger: Path, smaller: Path) -> None:
    """Load both networks of a pair from the weights of each alone.

    Args:
        pair: of any variant.
        preset: its own.
        larger: weights of the preset.
        smaller: weights of its mini.

    Raises:
        TrainError: weights that cannot be read, or are of other networks.
    """
    for own, path, network in ((preset, larger, pair.network), (PRESETS[preset].mini, smaller, pair.mini)):
        alone: Interpolator = build(str(own))
        load_weights(alone, path)
        network.load_state_dict(alone.network.state_dict())


def _there(name: str) -> Path | None:
    path = PACKAGED / f"{name}.safetensors"
    return path if path.exists() else None
