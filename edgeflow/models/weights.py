"""Trained weights as files, for every family."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from edgeflow.ir.errors import TrainError


def write_weights(model: nn.Module, path: Path, facts: Mapping[str, str], half: bool = True) -> None:
    """Write a model's weights.

    Args:
        model: the model.
        path: of a safetensors file; written beside it and renamed.
        facts: metadata: family, preset, variant, and more, such as the steps trained.
        half: store float16, half the size; every weight is rounded to about three digits.
    """
    kind = torch.float16 if half else torch.float32
    tensors = {name: tensor.to(kind).cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_tensors(tensors, path, facts)


def write_tensors(tensors: dict[str, torch.Tensor], path: Path, facts: Mapping[str, str]) -> None:
    """Write a safetensors file beside its place and rename it; whoever the umask lets may read it."""
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, dict(facts))
    partial.chmod(0o666 & ~_umask())  # safetensors writes for the owner alone
    partial.replace(path)


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    found = os.umask(0o022)
    os.umask(found)
    return found


def read_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors of a weight file by name, as float32, and its metadata.

    Raises:
        TrainError: no such file, or one that is not whole.
    """
    if not path.exists():
        raise TrainError(f"no weights at {path}: train some with `edgeflow train`")
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise TrainError(f"cannot read weights {path} ({error}): fetch or train them again") from error
    return tensors, metadata


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
    tensors, metadata = read_weights(path)
    check_fit(model.state_dict(), tensors, path, metadata)
    model.load_state_dict(tensors)
    return metadata


def check_fit(
    expected: Mapping[str, torch.Tensor],
    tensors: Mapping[str, torch.Tensor],
    path: Path,
    metadata: Mapping[str, str],
) -> None:
    """Refuse weights of another model, naming the first tensor that does not fit.

    Raises:
        TrainError: a tensor is missing, too many, or of another shape.
    """
    kind = f"preset {metadata.get('preset', 'unknown')}, variant {metadata.get('variant', 'unknown')}"
    for name in sorted(expected.keys() | tensors.keys()):
        wanted, found = (
            tuple(held[name].shape) if name in held else "absent" for held in (expected, tensors)
        )
        if wanted != found:
            raise TrainError(
                f"weights {path} are of {kind}, not of this model: {name} is {found}, expected {wanted}; "
                "build the model with that preset and variant"
            )
