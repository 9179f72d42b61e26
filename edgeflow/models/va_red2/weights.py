"""Trained weights of VA-RED2 that come with edgeflow."""

from pathlib import Path

PACKAGED = Path(__file__).parent / "pretrained"


def pretrained(preset: str, variant: str = "two") -> Path | None:
    """The weights of a preset and search space that come with edgeflow, or None."""
    path = PACKAGED / f"{preset}-{variant}.safetensors"
    return path if path.exists() else None
