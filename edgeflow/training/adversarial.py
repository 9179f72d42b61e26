"""Least-squares adversarial losses with spectrally normalised patch discriminators."""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import spectral_norm


class PatchDiscriminator(nn.Module):
    """Scores of patches, 2 x `width` for each; about 1 where they look real.

    Args:
        channels: of the pictures, several of a clip side by side.
        width: of its one hidden layer; 64 in the paper.

    Source: Shortcut-V2V, section 3.3 (after Free-form Video Inpainting's temporal patch discriminator).
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            spectral_norm(nn.Conv2d(channels, width, 4, 2, 1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(width, 2 * width, 4, 1, 1)),
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) -> (n, 2 * width, h / 2 - 1, w / 2 - 1)."""
        scores: torch.Tensor = self.net(pictures)
        return scores


def to_fool(critic: PatchDiscriminator, made: torch.Tensor) -> torch.Tensor:
    """What a generator minimises: how far its pictures are from looking real. The critic gets no gradient."""
    held = {name: parameter.detach() for name, parameter in critic.named_parameters()}
    scores: torch.Tensor = functional_call(critic, held, (made,))
    return (scores - 1).square().mean()


def to_tell(critic: PatchDiscriminator, real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    """What a critic minimises: 1 for real pictures, 0 for made ones. The generator gets no gradient."""
    told: torch.Tensor = (critic(real.detach()) - 1).square().mean() + critic(made.detach()).square().mean()
    return told / 2
