"""Trained weights of ST-MFNet that come with edgeflow."""

from pathlib import Path

PACKAGED = Path(__file__).parent / "pretrained"


def pretrained(preset: str, variant: str = "alone") -> Path | None:
    """The weights of a preset and variant that come with edgeflow, or None."""
    path = PACKAGED / f"{preset}-{variant}.safetensors"
    return path if path.exists() else None
