"""Motion shown by a published network: RIFE 4.0, whose weights are in an installed package.

From pictures alone, a small network on few clips learns to average both frames, and nothing of where things went.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgeflow.models.rife import build
from edgeflow.models.rife.ifnet import Warped, warped
from edgeflow.models.rife.model import PUBLISHED
from edgeflow.models.rife.weights import load_published, published_file
from edgeflow.training.samples import Samples

DOUBT = 0.03
"""Error of the guide's picture, of values up to 1, at which its flow counts 1 / e of a sure one."""
ENOUGH = 150
"""Crops that are kept to learn from: 4 MB each of 320 pixels."""
ROUNDS = 4
"""Steps in which a flow between the frames is found from the flows in the middle."""


@dataclass(frozen=True)
class Shown:
    """Where things are in both frames, in pixels, x then y.

    Attributes:
        before: from the picture in the middle to the frame before it, (n, 2, h, w).
        after: to the frame after it.
        trust: how sure each pixel is, 0 to 1, (n, 1, h, w).
    """

    before: Tensor
    after: Tensor
    trust: Tensor

    def between(self) -> tuple[Tensor, Tensor]:
        """From the first frame to the second, and back: (n, 2, h, w) each.

        Half of it leads from the first frame to the middle, where the flow is known; so it is found step by step.
        """
        span = self.after - self.before
        there, back = torch.zeros_like(span), torch.zeros_like(span)
        for _ in range(ROUNDS):
            there, back = warped(span, there / 2), -warped(span, back / 2)
        return there, back


class Guide(nn.Module):
    """RIFE's flow network.

    Raises:
        FlowError: the package with its weights is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        model = build(PUBLISHED, "flow")
        load_published(model, published_file())
        self.flows = model.network.ifnet.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, frame1: Tensor, target: Tensor, frame2: Tensor) -> Shown:
        """What moved between two frames around a known picture, (n, 3, h, w) in [0, 1] each, sides multiples of 32."""
        found: Warped = self.flows(frame1, frame2, frame1.new_full((len(frame1), 1), 0.5))
        wrong = (found.picture() - target).abs().mean(1, keepdim=True)
        return Shown(found.flow[:, :2], found.flow[:, 2:], torch.exp(-wrong / DOUBT))


class Lessons:
    """Crops with their flows: every draw adds one, until there are enough.

    Args:
        samples: where crops come from.
        guide: that shows how they move.
    """

    def __init__(self, samples: Samples, guide: Guide) -> None:
        self._samples, self._guide = samples, guide
        self._known: list[tuple[Tensor, Shown]] = []

    def draw(self, count: int) -> tuple[Tensor, Tensor, Shown]:
        """Some crops: both frames, (count, 3, h, w) each, and how they move."""
        if len(self._known) < ENOUGH:
            middle = len(crop := self._samples.crops(1).contiguous()) // 2
            around = crop[middle - 1 : middle + 2]
            self._known.append((around, self._guide(*around)))
        drawn = [self._known[i] for i in self._samples.rng.integers(len(self._known), size=count)]
        frames = torch.cat([crop for crop, _ in drawn], 1)
        flows = (
            torch.cat([getattr(shown, name) for _, shown in drawn]) for name in ("before", "after", "trust")
        )
        return frames[0], frames[2], Shown(*flows)
