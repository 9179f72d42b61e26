"""Trained weights of CAIN-SD: written with their preset, and those that come with edgeflow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgeflow.models.cain_sd.model import CAINSD, PRESETS
from edgeflow.models.weights import load_weights as load_weights
from edgeflow.models.weights import write_weights

PACKAGED = Path(__file__).parent / "pretrained"


def pretrained(preset: str, variant: str = "SD") -> Path | None:
    """The weights of a preset and variant that come with edgeflow, or None."""
    path = PACKAGED / f"{preset}-{variant}.safetensors"
    return path if path.exists() else None


def save_weights(
    model: CAINSD, path: Path, half: bool = True, facts: Mapping[str, str] | None = None
) -> None:
    """Write a model's weights.

    Args:
        model: the model.
        path: of a safetensors file; written beside it and renamed.
        half: store float16, half the size; every weight is rounded to about three digits.
        facts: more metadata, such as the steps trained and the version of edgeflow.
    """
    preset = next((name for name, known in PRESETS.items() if known == model.preset), "custom")
    own = {"family": "cain-sd", "preset": preset, "variant": model.variant}
    write_weights(model, path, {**own, **(facts or {})}, half)
