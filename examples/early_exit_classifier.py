"""A classifier that answers as soon as it is sure.

After every block a head gives an answer; where its confidence reaches the threshold, the
remaining blocks are skipped. Export it, then run it with any image of 32x32 pixels:

    edgeflow export examples/early_exit_classifier.py:build --target cpu -o classifier.edgeflow

Run this file to train it for a minute on a made-up task (in which quarter of the picture is the bright square?), to
write its weights to classifier.safetensors, and to see how many pictures leave at each exit.
"""

from collections import Counter
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from edgeflow.flow import Axis, ConfidenceBelow, Eager, Flow, Image, RoutedModule, Tensor, Training

CLASSES = 4


class Classifier(RoutedModule):
    """A stem, then three blocks with an exit after each."""

    inputs = (Image("image", 32, 32),)
    outputs = (Tensor("scores", (CLASSES,)),)
    go_on = Axis(False, True)

    def __init__(self, threshold: float = 0.9, width: int = 16) -> None:
        super().__init__()
        self.threshold = threshold
        self.stem = nn.Sequential(nn.Conv2d(3, width, 4, 4), nn.ReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.ReLU()) for _ in range(3)
        )
        self.heads = nn.ModuleList(
            nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(4 * width, CLASSES)) for _ in range(3)
        )

    def flow(self, f: Flow, image: Any) -> Any:
        x, answer, more = f.call(self.stem, image), None, True
        for block, head in zip(self.blocks, self.heads, strict=True):
            x = f.call(block, x, when=more)
            answer = f.call(head, x, when=more, otherwise=answer)
            if head is not self.heads[-1]:
                more = more & f.route(answer, go_on=ConfidenceBelow(self.threshold)).go_on
        return answer


def build() -> Classifier:
    """An untrained classifier: what `edgeflow export` calls."""
    return Classifier().eval()


def pictures(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy pictures (count, 3, 32, 32) with a square of any brightness, and its quarter."""
    labels = torch.randint(CLASSES, (count,))
    images = torch.rand(count, 3, 32, 32) * 0.5
    for image, label in zip(images, labels.tolist(), strict=True):
        top, left = 16 * (label // 2) + 4, 16 * (label % 2) + 4
        image[:, top : top + 8, left : left + 8] += 0.5 * torch.rand(())
    return images, labels


if __name__ == "__main__":
    torch.manual_seed(0)
    model = Classifier()
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(300):
        images, labels = pictures(64)
        early, late = (Training(model, fixed={"go_on": more})(images).outputs[0] for more in (False, True))
        loss = F.cross_entropy(early, labels) + F.cross_entropy(late, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    save_file(model.state_dict(), "classifier.safetensors")
    results = [Eager(model)(image[None]) for image in pictures(200)[0]]
    print("pictures per way:", Counter(tuple(route[0] for route in r.routes.values()) for r in results))
