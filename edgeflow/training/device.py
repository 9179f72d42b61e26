"""Where a training runs: its model, its frames, and every tensor that its losses make."""

from __future__ import annotations

import torch

from edgeflow.ir.errors import TrainError


def use_device(name: str) -> None:
    """Make a device the one that tensors are made on from now on, in this process.

    Args:
        name: as torch has it: `cpu`, `cuda`, `cuda:1`, `mps`.

    Raises:
        TrainError: there is no such device here.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise TrainError(
            f"--device {name}: torch has no such device here ({reason}); cpu is always there"
        ) from error
    torch.set_default_device(device)


def fast() -> torch.autocast:
    """Convolutions in bfloat16, on the device in use."""
    return torch.autocast(torch.get_default_device().type, torch.bfloat16)
