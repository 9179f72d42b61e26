"""A small network and what it learns from, for `edgeflow compress examples/compress_a_classifier.py:build -o small.safetensors`."""

import torch
from torch import nn


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, groups=4, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return x + self.second(self.norm(self.first(x)).relu())


class Classifier(nn.Module):
    """Tells which corner of a picture is bright."""

    def __init__(self):
        super().__init__()
        self.entry = nn.Conv2d(3, 16, 3, 2, 1)
        self.blocks = nn.Sequential(Residual(16), Residual(16))
        self.side = nn.Conv2d(3, 8, 3, 2, 1)
        self.merge = nn.Conv2d(24, 16, 1)
        self.answer = nn.Linear(16 * 4, 4)

    def forward(self, picture):
        x = torch.cat([self.blocks(self.entry(picture)), self.side(picture)], 1)
        x = nn.functional.adaptive_avg_pool2d(self.merge(x).relu(), 2)
        return self.answer(x.flatten(1))


def build():
    return Classifier()


def batches(count=16):
    """Noise in which one corner is brighter, and the number of that corner."""
    while True:
        pictures, corners = torch.rand(count, 3, 16, 16), torch.randint(4, (count,))
        for picture, corner in zip(pictures, corners.tolist(), strict=True):
            picture[:, corner // 2 * 8 :][:, :8, corner % 2 * 8 :][..., :8] += 0.5
        yield pictures, corners
