"""The Shortcut block: the decoder's feature of this frame, from that of the last key frame.

Source: Shortcut-V2V, section 3.2 and Fig. 1(b).
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from edgeflow.ops.adabd import TAPS, AdaBD
from edgeflow.ops.deform_conv import deform_conv2d
from edgeflow.ops.hetconv import HetConv

Alignment = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""What AdaBD reads: current and reference (n, c, h, w), offsets (n, 18, h, w), mask (n, 9, h, w)."""


class ShortcutBlock(nn.Module):
    """Aligns the reference to the current frame, first as a whole, then tap by tap, and blends both.

    Three segments: `align`, `blend` (AdaBD and nothing else) and `expand`.

    Args:
        encoded: channels of the encoder's feature a.
        decoded: channels of the decoder's feature f.
        channels: of everything inside; a multiple of 4.
    """

    def __init__(self, encoded: int, decoded: int, channels: int) -> None:
        super().__init__()
        self.reduce_decoded = nn.Conv2d(decoded, channels, 1)
        self.reduce_encoded = nn.Conv2d(encoded, channels, 1)
        self.coarse_offset = _generator(2 * encoded, channels, layers=2, outputs=2)
        self.coarse_weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.fine = _generator(2 * channels, channels, layers=3, outputs=3 * TAPS)
        self.blend = AdaBD(channels)
        self.expand = nn.Conv2d(channels, decoded, 1)
        self._start()

    def _start(self) -> None:
        """Xavier's weights; offsets zero and masks one half at first."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.xavier_uniform_(self.coarse_weight)
        for last in (self.coarse_offset[-1], self.fine[-1]):
            nn.init.zeros_(last.weight)  # type: ignore[arg-type]

    def align(self, a: torch.Tensor, a_ref: torch.Tensor, f_ref: torch.Tensor) -> Alignment:
        """Everything before AdaBD.

        Args:
            a: of the current frame, (n, encoded, h, w) with even h and w.
            a_ref: of the key frame, the same.
            f_ref: of the key frame, (n, decoded, h, w).
        """
        current, reference = F.relu(self.reduce_encoded(a)), F.relu(self.reduce_encoded(a_ref))
        feature = F.relu(self.reduce_decoded(f_ref))
        # Averages of two by two pixels are what halving by bilinear interpolation gives.
        moved = self.coarse_offset(torch.cat([F.avg_pool2d(a, 2), F.avg_pool2d(a_ref, 2)], 1))
        offset = moved.repeat(1, TAPS, 1, 1)
        encoded, decoded = self._coarse(reference, offset), self._coarse(feature, offset)
        fine = self.fine(torch.cat([current, encoded.detach()], 1))
        return current, decoded, fine[:, : 2 * TAPS], fine[:, 2 * TAPS :].sigmoid()

    def _coarse(self, x: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """Eq. 4: halved, deformed by one offset for all taps, doubled."""
        deformed = deform_conv2d(F.avg_pool2d(x, 2), offset, self.coarse_weight, padding=1)
        return F.interpolate(deformed, scale_factor=2.0, mode="bilinear", align_corners=False)

    def forward(self, a: torch.Tensor, a_ref: torch.Tensor, f_ref: torch.Tensor) -> torch.Tensor:
        """The current frame's f, (n, decoded, h, w); arguments as of `align`."""
        made: torch.Tensor = self.expand(self.blend(*self.align(a, a_ref, f_ref)))
        return made

    def deformed(self, alignment: Alignment) -> torch.Tensor:
        """The aligned reference without any of the current frame, for the alignment loss (Eq. 7)."""
        _, reference, offset, _ = alignment
        made: torch.Tensor = self.expand(deform_conv2d(reference, offset, self.blend.weight, padding=1))
        return made


def _generator(inputs: int, channels: int, layers: int, outputs: int) -> nn.Sequential:
    """HetConvs with ReLUs, and a 1x1 convolution."""
    widths = [inputs, *[channels] * layers]
    steps: list[nn.Module] = []
    for before, after in pairwise(widths):
        steps += [HetConv(before, after), nn.ReLU()]
    return nn.Sequential(*steps, nn.Conv2d(channels, outputs, 1))
