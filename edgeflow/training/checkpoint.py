"""Checkpoints of a training run, and its log.

A checkpoint is one safetensors file: weights, optimiser state, position and random states. It is
written beside its place and renamed, so that an interruption leaves the last good one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from edgeflow.ir.errors import TrainError
from edgeflow.models.weights import write_tensors


@dataclass(frozen=True)
class Position:
    """How far a run is.

    Attributes:
        stage: name of the curriculum's stage.
        step: steps done in it.
        seconds: spent in it.
        first_loss: of the stage's first step; None before it.
        total: steps done in all stages.
    """

    stage: str
    step: int = 0
    seconds: float = 0.0
    first_loss: float | None = None
    total: int = 0


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    position: Position,
    rng: np.random.Generator,
    identity: Mapping[str, str],
) -> None:
    """Write a checkpoint.

    Args:
        path: of the file.
        model: whose parameters and buffers are saved.
        optimiser: over parameters of the model.
        position: of the run.
        rng: that draws the samples; torch's own random state is saved too.
        identity: what the run trains; a checkpoint fits only a run that says the same.
    """
    tensors = {f"model.{name}": tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser.{key}.{name}"] = value.cpu().contiguous()
    tensors["random"] = torch.get_rng_state()
    facts = json.dumps(
        {"position": asdict(position), "rng": rng.bit_generator.state, "identity": dict(identity)}
    )
    write_tensors(tensors, path, {"facts": facts, "sha256": _digest(tensors, facts)})


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read back: tensors by name, position, state of the sampler, identity."""

    tensors: dict[str, torch.Tensor]
    position: Position
    rng: dict[str, Any]
    identity: dict[str, str]

    def restore_model(self, model: nn.Module) -> None:
        """Load the weights."""
        model.load_state_dict(self._under("model."))

    def restore_optimiser(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """Load the optimiser's state; its parameters are the model's."""
        owned = {id(p) for group in optimiser.param_groups for p in group["params"]}
        for name, parameter in model.named_parameters():
            for key in ("step", "exp_avg", "exp_avg_sq"):
                found = self.tensors.get(f"optimiser.{key}.{name}")
                if found is not None and id(parameter) in owned:
                    held = "cpu" if key == "step" else parameter.device  # as Adam keeps them
                    optimiser.state[parameter][key] = found.to(held)

    def restore_random(self, rng: np.random.Generator) -> None:
        """Set the sampler's and torch's random states."""
        rng.bit_generator.state = self.rng
        torch.set_rng_state(self.tensors["random"])

    def _under(self, prefix: str) -> dict[str, torch.Tensor]:
        return {k.removeprefix(prefix): t for k, t in self.tensors.items() if k.startswith(prefix)}


def load_checkpoint(path: Path, identity: Mapping[str, str]) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        TrainError: it is truncated or altered, or belongs to another kind of run.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).cpu() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise TrainError(f"cannot read checkpoint {path} ({error}): delete it to train anew") from error
    if metadata.get("sha256") != _digest(tensors, metadata.get("facts", "")):
        raise TrainError(f"checkpoint {path} was altered since it was written: delete it to train anew")
    facts = json.loads(metadata["facts"])
    if facts["identity"] != dict(identity):
        raise TrainError(
            f"checkpoint {path} is of a run with {_said(facts['identity'])}, not {_said(identity)}: "
            "use another --run folder or the same options"
        )
    return Checkpoint(tensors, Position(**facts["position"]), facts["rng"], facts["identity"])


class RunLog:
    """Appends one JSON object per line to a file; each says when."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, **values: object) -> None:
        """Append a line."""
        with self._path.open("a") as file:
            file.write(json.dumps({"time": round(time.time(), 1), **values}) + "\n")


def _digest(tensors: Mapping[str, torch.Tensor], facts: str) -> str:
    found = sha256(facts.encode())
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _said(identity: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in identity.items())
