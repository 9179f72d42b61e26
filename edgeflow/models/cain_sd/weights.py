"""Trained weights as files: reading, writing, and those that come with edgeflow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from edgeflow.ir.errors import TrainError
from edgeflow.models.cain_sd.model import CAINSD, PRESETS

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
    kind = torch.float16 if half else torch.float32
    tensors = {name: tensor.to(kind).contiguous() for name, tensor in model.state_dict().items()}
    preset = next((name for name, known in PRESETS.items() if known == model.preset), "custom")
    partial = path.with_suffix(".partial")
    save_file(
        tensors, partial, {"family": "cain-sd", "preset": preset, "variant": model.variant, **(facts or {})}
    )
    partial.replace(path)


def load_weights(model: nn.Module, path: Path) -> dict[str, str]:
    """Load weights into a model, as float32.

    Args:
        model: of the preset and variant that the file was written for.
        path: of a safetensors file.

    Returns:
        The file's metadata: family, preset, variant and what else was known when it was written.

    Raises:
        TrainError: no such file, a file that is not whole, or one for another model.
    """
    if not path.exists():
        raise TrainError(f"no weights at {path}: train some with `edgeflow train cain-sd`")
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise TrainError(f"cannot read weights {path} ({error}): fetch or train them again") from error
    _fit(model, tensors, path, metadata)
    model.load_state_dict(tensors)
    return metadata


def _fit(
    model: nn.Module, tensors: Mapping[str, torch.Tensor], path: Path, metadata: Mapping[str, str]
) -> None:
    """Refuse weights of another model, naming the first tensor that does not fit."""
    kind = f"preset {metadata.get('preset', 'unknown')}, variant {metadata.get('variant', 'unknown')}"
    expected = model.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        wanted, found = (
            tuple(held[name].shape) if name in held else "absent" for held in (expected, tensors)
        )
        if wanted != found:
            raise TrainError(
                f"weights {path} are of {kind}, not of this model: {name} is {found}, expected {wanted}; "
                "build the model with that preset and variant"
            )
