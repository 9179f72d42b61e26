"""Trained weights of Shortcut-V2V: a teacher's alone, and those that come with edgeflow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgeflow.models.shortcut_v2v.model import ShortcutV2V
from edgeflow.models.weights import check_fit, read_weights, write_weights

PACKAGED = Path(__file__).parent / "pretrained"
PARTS = ("encode.", "middle.", "decode.")
"""Parts of the teacher; a module's part depends on the cut, its name after that does not."""


def pretrained(preset: str, variant: str = "medium") -> Path | None:
    """The weights of a preset and dependence that come with edgeflow, or None."""
    path = PACKAGED / f"{preset}-{variant}.safetensors"
    return path if path.exists() else None


def save_weights(model: ShortcutV2V, path: Path, facts: Mapping[str, str]) -> None:
    """Write a model's weights as float16; `facts` say preset, variant and more."""
    write_weights(model, path, {"family": "shortcut-v2v", **facts})


def load_teacher(model: ShortcutV2V, path: Path) -> None:
    """Load the teacher of a weight file, whatever dependence it was written for.

    Raises:
        TrainError: no such file, one that is not whole, or a teacher of another preset.
    """
    tensors, metadata = read_weights(path)
    found = {_step(name): tensor for name, tensor in tensors.items() if name.startswith(PARTS)}
    own = {_step(name): name for name in model.state_dict() if name.startswith(PARTS)}
    check_fit({step: model.state_dict()[name] for step, name in own.items()}, found, path, metadata)
    model.load_state_dict({own[step]: tensor for step, tensor in found.items()}, strict=False)


def _step(name: str) -> str:
    return name.split(".", 1)[1]
