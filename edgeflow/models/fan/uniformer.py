"""UniFormer: convolutions where frames are large, attention over all frames and places where they are small.

Source: Li et al., UniFormer (ICLR 2022), section 3 and Table 9 of its appendix (UniFormer-S).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from edgeflow.models.fan.per_length import Entrance

HEAD = 64
"""Channels of an attention head."""
WIDER = 4
"""Channels inside a perceptron over those outside."""
EPSILON = 1e-6
"""What its layer norms add to a variance."""


@dataclass(frozen=True)
class Depth:
    """A size.

    Attributes:
        blocks: in each of the four stages, of which the first two are of convolutions.
        widths: of the stages.
        dropped: share of blocks' branches that training leaves out, at the last block; it grows from zero.
    """

    blocks: tuple[int, int, int, int] = (3, 4, 8, 3)
    widths: tuple[int, int, int, int] = (64, 128, 320, 512)
    dropped: float = 0.2


class Embedding(nn.Module):
    """Patches as tokens: a convolution whose stride is a patch, and a norm over channels.

    Args:
        channels: that come in.
        width: of the tokens.
        frames: that a token sees; of every second frame if more than one.
        side: of a patch.
    """

    def __init__(self, channels: int, width: int, frames: int, side: int) -> None:
        super().__init__()
        step = 2 if frames > 1 else 1
        self.conv = nn.Conv3d(channels, width, (frames, side, side), (step, side, side), (frames // 2, 0, 0))
        self.norm = nn.LayerNorm(width, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, t, h, w) -> (n, width, ...)."""
        made: Tensor = self.norm(self.conv(x).movedim(1, -1)).movedim(-1, 1)
        return made


class Branch(nn.Module):
    """A residual branch that training leaves out for some clips.

    Args:
        body: of the branch.
        dropped: how often.
    """

    def __init__(self, body: nn.Module, dropped: float) -> None:
        super().__init__()
        self.body, self.dropped = body, dropped

    def forward(self, x: Tensor) -> Tensor:
        """x, and what the branch adds to it."""
        made: Tensor = self.body(x)
        if self.training and self.dropped:
            kept = made.new_empty(len(made), *(1 for _ in made.shape[1:])).bernoulli_(1 - self.dropped)
            made = made * kept / (1 - self.dropped)
        return x + made


class Local(nn.Sequential):
    """A block of convolutions: (n, c, t, h, w) -> the same.

    Args:
        width: channels.
        dropped: see `Branch`.
    """

    def __init__(self, width: int, dropped: float) -> None:
        mixed = nn.Sequential(
            nn.BatchNorm3d(width),
            nn.Conv3d(width, width, 1),
            nn.Conv3d(width, width, 5, 1, 2, groups=width),
            nn.Conv3d(width, width, 1),
        )
        perceptron = nn.Sequential(
            nn.BatchNorm3d(width),
            nn.Conv3d(width, WIDER * width, 1),
            nn.GELU(),
            nn.Conv3d(WIDER * width, width, 1),
        )
        super().__init__(
            Entrance(width), _position(width), Branch(mixed, dropped), Branch(perceptron, dropped)
        )


class Attention(nn.Module):
    """Attention of every token to all: (n, tokens, c) -> the same.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // HEAD
        self.ask, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """What each token gathers."""
        asked = self.ask(x).reshape(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        gathered = F.scaled_dot_product_attention(*asked.unbind(0))
        made: Tensor = self.merge(gathered.transpose(1, 2).reshape(x.shape))
        return made


class Global(nn.Module):
    """A block of attention: (n, c, t, h, w) -> the same.

    Args:
        width: channels.
        dropped: see `Branch`.
    """

    def __init__(self, width: int, dropped: float) -> None:
        super().__init__()
        self.entrance, self.position = Entrance(width), _position(width)
        mixed = nn.Sequential(nn.LayerNorm(width, EPSILON), Attention(width))
        perceptron = nn.Sequential(
            nn.LayerNorm(width, EPSILON),
            nn.Linear(width, WIDER * width),
            nn.GELU(),
            nn.Linear(WIDER * width, width),
        )
        self.branches = nn.Sequential(Branch(mixed, dropped), Branch(perceptron, dropped))

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        placed = self.position(self.entrance(x))
        tokens: Tensor = self.branches(placed.flatten(2).transpose(1, 2))
        return tokens.transpose(1, 2).reshape(x.shape)


class UniFormer(nn.Module):
    """A clip's scores. Tokens see three frames, of every second one.

    Args:
        depth: its size.
        classes: that are told apart.
    """

    def __init__(self, depth: Depth, classes: int) -> None:
        super().__init__()
        self.embeddings, self.stages = nn.ModuleList(), nn.ModuleList()
        count, channels, number = sum(depth.blocks), 3, 0
        for stage, (blocks, width) in enumerate(zip(depth.blocks, depth.widths, strict=True)):
            self.embeddings.append(Embedding(channels, width, 1 if stage else 3, 2 if stage else 4))
            kind = Local if stage < 2 else Global
            shares = [depth.dropped * (number + i) / max(count - 1, 1) for i in range(blocks)]
            self.stages.append(nn.Sequential(*(kind(width, dropped) for dropped in shares)))
            channels, number = width, number + blocks
        self.norm, self.head = nn.BatchNorm3d(channels), nn.Linear(channels, classes)

    def forward(self, clip: Tensor) -> Tensor:
        """(n, t, 3, h, w) -> (n, classes)."""
        x = clip.transpose(1, 2)
        for embed, stage in zip(self.embeddings, self.stages, strict=True):
            x = stage(embed(x))
        scores: Tensor = self.head(self.norm(x).flatten(2).mean(-1))
        return scores


def _position(width: int) -> Branch:
    """What says where a token is: a filter of its neighbours, channel by channel."""
    return Branch(nn.Conv3d(width, width, 3, 1, 1, groups=width), 0.0)
