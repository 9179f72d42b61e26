"""The paper's models as it counts them: Tables 1 and 4.

Everything is built on the meta device: nothing is computed, and 365 M parameters take no memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeflow.models.shortcut_v2v.block import ShortcutBlock
from edgeflow.models.shortcut_v2v.counting import PaperCount, paper_count
from edgeflow.models.shortcut_v2v.model import CUTS
from edgeflow.models.shortcut_v2v.teachers import resnet_generator
from edgeflow.models.shortcut_v2v.vid2vid import DOWNS, PREVIOUS, TASKS, Vid2Vid

Part = tuple[nn.Module, tuple[torch.Tensor, ...]]
"""A module that runs on a frame, and what it is called with."""


@dataclass(frozen=True)
class Published:
    """What the paper prints: 1e9 multiply-accumulates and 1e6 parameters of a frame."""

    teacher_gmacs: float
    teacher_mparams: float
    shortcut_gmacs: float
    shortcut_mparams: float


@dataclass(frozen=True)
class Case:
    """A row of Table 1 or 4.

    Attributes:
        task: `v2c`, `l2v` (of Unsupervised RecycleGAN), `e2f` or `l2c` (of vid2vid).
        dependence: on the teacher.
        channels: of the Shortcut block; the paper leaves them out, and these reproduce its numbers.
        interval: frames from one key frame to the next.
        published: the paper's numbers.
    """

    task: str
    dependence: str
    channels: int
    interval: int
    published: Published


CASES = (
    Case("v2c", "low", 64, 3, Published(84.61, 7.84, 13.79, 0.14)),
    Case("v2c", "medium", 64, 3, Published(84.61, 7.84, 18.19, 0.32)),
    Case("v2c", "high", 64, 3, Published(84.61, 7.84, 27.97, 1.38)),
    Case("l2v", "medium", 64, 3, Published(42.36, 7.84, 9.09, 0.32)),
    Case("e2f", "low", 128, 6, Published(2066.69, 365.0, 243.97, 2.11)),
    Case("e2f", "medium", 256, 6, Published(2066.69, 365.0, 359.99, 8.29)),
    Case("e2f", "high", 512, 6, Published(2066.69, 365.0, 475.99, 32.98)),
    Case("l2c", "medium", 128, 3, Published(1254.17, 411.34, 389.16, 52.58)),
)
"""V2C at high dependence is the one row that no width reproduces: 64 gives the multiply-accumulates, 128 the
parameters."""

SIZES = {"v2c": (256, 512), "l2v": (256, 256)}
"""(height, width) of the frames of Unsupervised RecycleGAN."""


@dataclass(frozen=True)
class Frame:
    """What a frame costs: by the paper's rules, and truly.

    Attributes:
        paper: multiply-accumulates without deformable convolutions, parameters of what ran.
        macs: all multiply-accumulates of convolutions and matrix products.
        parameters: of everything that the frame needs.
    """

    paper: PaperCount
    macs: int
    parameters: int


def count(case: Case) -> tuple[Frame, Frame]:
    """The teacher's frame and the shortcut frame of a case."""
    with torch.device("meta"):
        teacher, shortcut = _vid2vid(case) if case.task in TASKS else _recycle_gan(case)
        return _frame(teacher), _frame(shortcut)


def _frame(parts: Sequence[Part]) -> Frame:
    paper = PaperCount(0, 0)
    for module, inputs in parts:
        paper += paper_count(module, *inputs)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for module, inputs in parts:
            module(*inputs)
    weights = {id(p): p.numel() for module, _ in parts for p in module.parameters()}
    return Frame(paper, counter.get_total_flops() // 2, sum(weights.values()))


def _recycle_gan(case: Case) -> tuple[list[Part], list[Part]]:
    generator, frame = resnet_generator().eval(), torch.empty(1, 3, *SIZES[case.task])
    cut = CUTS[case.dependence]
    first, second = (int(name) + 1 for name in (cut.encoder_cut, cut.decoder_cut))
    return [(generator, (frame,))], _shortcut(case, generator, first, second, frame)


def _vid2vid(case: Case) -> tuple[list[Part], list[Part]]:
    """Shortcut frames show the painted picture: flow and mask are left out, the foreground's branch is not."""
    task = TASKS[case.task]
    model = Vid2Vid(task).eval()
    conditions, previous = (torch.empty(1, c, *task.size) for c in (task.conditions, PREVIOUS))
    depth = {"low": 1, "medium": 2, "high": 3}[case.dependence]
    names = list(dict(model.image.named_children()))
    first, second = names.index(f"down{depth}") + 1, names.index(f"up{DOWNS - depth + 1}")
    frame = torch.cat([conditions, previous], 1)
    shortcut = _shortcut(case, model.image, first, second, frame)
    if model.foreground is not None:
        shortcut.append((model.foreground, (conditions,)))
    return [(model, (conditions, previous))], shortcut


def _shortcut(
    case: Case, generator: nn.Sequential, first: int, second: int, frame: torch.Tensor
) -> list[Part]:
    encode, middle, decode = generator[:first], generator[first:second], generator[second:]
    with torch.no_grad():
        a = encode(frame)
        f = middle(a)
    block = ShortcutBlock(a.shape[1], f.shape[1], case.channels)
    return [(encode, (frame,)), (block, (a, a, f)), (decode, (f,))]
