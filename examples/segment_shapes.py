"""A segmenter of one's own: a U-Net that tells discs and squares from what lies behind them.

    python examples/segment_shapes.py       trains it for a minute and writes segment_shapes.safetensors
    edgeflow wrap examples/segment_shapes.py:build --clip sample.mp4 -o segment.edgeflow

It makes a map of four scores for every pixel, which `wrap` compares with the static network's by their range and by the largest
of the four. Nothing in this file knows of edgeflow.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

WEIGHTS = Path("segment_shapes.safetensors")
CLASSES = ("behind", "disc", "square", "edge")


class Segmenter(nn.Module):
    """Shrinks by eight and back, with what was there at every size added."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, width, 3, 1, 1)
        self.down = nn.ModuleList(nn.Conv2d(width, width, 3, 2, 1) for _ in range(3))
        self.up = nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1) for _ in range(3))
        self.leave = nn.Conv2d(width, len(CLASSES), 3, 1, 1)

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) in [0, 1], sides multiples of 8 -> scores (n, 4, h, w)."""
        sizes = [F.relu(self.enter(frame))]
        for shrink in self.down:
            sizes.append(F.relu(shrink(sizes[-1])))
        x = sizes.pop()
        for enlarge in self.up:
            x = F.relu(enlarge(F.interpolate(x, scale_factor=2.0, mode="bilinear"))) + sizes.pop()
        return self.leave(x)


def pictures(count: int, side: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (count, 3, side, side) of a disc and a square before a rough background, and the class of every pixel."""
    behind = F.interpolate(torch.rand(count, 3, 8, 8), size=(side, side), mode="bicubic").clamp(0, 1)
    frame, labels = (
        behind + 0.05 * torch.randn(count, 3, side, side),
        torch.zeros(count, side, side, dtype=torch.long),
    )
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    for number in range(count):
        for kind in (1, 2):
            radius = int(torch.randint(6, 14, ()))
            top, left = torch.randint(radius, side - radius, (2,)).tolist()
            down, across = (rows - top).abs(), (columns - left).abs()
            far = (down**2 + across**2).float().sqrt() if kind == 1 else torch.maximum(down, across).float()
            frame[number, :, far < radius] = torch.rand(3, 1) * 0.8 + 0.1
            labels[number, far < radius] = kind
            labels[number, (far >= radius - 1) & (far < radius)] = 3
    return frame.clamp(0, 1), labels


def build() -> Segmenter:
    """The trained network."""
    if not WEIGHTS.exists():
        raise SystemExit(f"{WEIGHTS} is not there: train it first, python {__file__}")
    network = Segmenter()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval()


if __name__ == "__main__":
    torch.manual_seed(0)
    network = Segmenter()
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for step in range(400):
        frames, labels = pictures(16)
        loss = F.cross_entropy(network(frames), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 50 == 0:
            print(f"step {step}: loss {loss.item():.3f}")
    save_file(network.state_dict(), WEIGHTS)
    frames, labels = pictures(64)
    print(f"right: {(network(frames).argmax(1) == labels).float().mean():.1%} of new pictures' pixels")
