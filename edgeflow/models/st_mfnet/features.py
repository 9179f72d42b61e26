"""What kernels are estimated from: a U-Net of ResNeXt blocks with small and large kernels side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

MEAN = (0.4631, 0.4352, 0.3990)
"""Means of the frames that the published network was trained on; subtracted, nothing is divided."""
BASE_WIDTH = 4
"""Channels of a group at 64 output channels, as in ResNeXt 32x4d."""
SQUEEZE = 16


class Bottleneck(nn.Module):
    """A ResNeXt bottleneck: 1x1, grouped, 1x1, added to its input.

    Args:
        channels: in.
        out: channels out.
        kernel: side of the grouped convolution.
        groups: of it.
        step: "down" halves the size, "up" doubles it, "same" keeps it.
    """

    def __init__(self, channels: int, out: int, kernel: int, groups: int, step: str) -> None:
        super().__init__()
        width = max(int(out * BASE_WIDTH / 64), 1) * groups
        self.narrow = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width))
        stride = 1 if step == "same" else 2
        grouped: nn.Module
        if step == "up":
            grouped = nn.ConvTranspose2d(
                width, width, kernel, 2, (kernel - 2) // 2, groups=groups, bias=False
            )
        else:
            grouped = nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.grouped = nn.Sequential(grouped, nn.BatchNorm2d(width))
        self.wide = nn.Sequential(nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            moved: nn.Module = nn.Conv2d(channels, out, 1, stride, bias=False)
            if step == "up":
                moved = nn.ConvTranspose2d(channels, out, 2, 2, bias=False)
            self.shortcut = nn.Sequential(moved, nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, out, h', w')."""
        made = self.narrow(x).relu()
        made = self.grouped(made).relu()
        made = self.wide(made) + self.shortcut(x)
        joined: Tensor = made.relu()
        return joined


class Block(nn.Module):
    """Two bottlenecks with unlike kernels, half of the channels each, then squeeze and excite."""

    def __init__(self, channels: int, out: int, kernels: tuple[int, int], groups: int, step: str) -> None:
        super().__init__()
        self.small = Bottleneck(channels, out // 2, kernels[0], groups, step)
        self.large = Bottleneck(channels, out // 2, kernels[1], groups, step)
        squeezed = max(out // SQUEEZE, 1)
        self.excite = nn.Sequential(
            nn.Linear(out, squeezed), nn.ReLU(), nn.Linear(squeezed, out), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, out, h', w')."""
        made = torch.cat([self.small(x), self.large(x)], 1)
        shares: Tensor = self.excite(made.mean((2, 3)))
        return made * shares[:, :, None, None]


class Features(nn.Module):
    """UMultiScaleResNext.

    Args:
        channels: of the encoder's four levels, and back up.
        groups: of grouped convolutions.

    Source: ST-MFNet, section 3.1 and Fig. 3.
    """

    def __init__(self, channels: Sequence[int], groups: int) -> None:
        super().__init__()
        a, b, c, d = channels
        self.down = nn.ModuleList(
            [
                Block(6, a, (3, 7), groups, "down"),
                Block(a, b, (3, 7), groups, "down"),
                Block(b, c, (3, 5), groups, "down"),
                Block(c, d, (3, 5), groups, "down"),
            ]
        )
        self.middle = Block(d, d, (3, 5), groups, "same")
        self.up = nn.ModuleList(
            [
                Block(d, c, (4, 6), groups, "up"),
                Block(c, b, (4, 8), groups, "up"),
                Block(b, a, (4, 8), groups, "up"),
            ]
        )

    def forward(self, frame1: Tensor, frame2: Tensor) -> Tensor:
        """The two middle frames (n, 3, h, w), sides multiples of 16 -> (n, channels[0], h / 2, w / 2)."""
        mean = frame1.new_tensor(MEAN).view(3, 1, 1)
        x = torch.cat([frame1 - mean, frame2 - mean], 1)
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        x = self.middle(x)
        for block, skip in zip(self.up, reversed(skips[1:]), strict=True):
            x = block(x + skip)
        features: Tensor = x
        return features
