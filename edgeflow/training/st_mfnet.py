"""Training ST-MFNet: the picture between, by the Laplacian pyramid; a Mini also by what its teacher makes.

Source: ST-MFNet Mini, section II-B and Eq. 4. Ours are: the flow estimator is CAIN-SD's small one, trained on made-up motion, since no
published weights are used; networks begin as the average of both frames; they may learn first where things move, from RIFE's flow; and of a
Mini that sees changes the 3D network alone learns, by absolute differences at half size.
"""

from __future__ import annotations

from math import isqrt
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeflow.ir.errors import TrainError
from edgeflow.models import cain_sd
from edgeflow.models.cain_sd.pwc import FLOW_SCALE
from edgeflow.models.cain_sd.weights import pretrained as motion_weights
from edgeflow.models.st_mfnet import PRESETS, Interpolator, Pair, STMFNet, build
from edgeflow.models.st_mfnet.kernels import FRAMES, PARTS
from edgeflow.models.st_mfnet.weights import pretrained
from edgeflow.models.weights import load_weights, read_weights
from edgeflow.training import st_mfnet_router
from edgeflow.training.flow_guide import Guide, Lessons
from edgeflow.training.loop import Loss, Stage
from edgeflow.training.losses import l1, laplacian
from edgeflow.training.moving_crops import MovingCrops
from edgeflow.training.order import Order, Trainee
from edgeflow.training.samples import Samples, Window

CROP, WIDE = 128, 320
"""Sides of crops, in pixels: of all of the network, and of what moves pixels. A flow estimator sees farther than 128 pixels: taught on
crops of those, it found 2 pixels of motion where whole frames stood still, and 0.3 in crops."""
BATCH = 2
"""Crops of a step of all of the network; of wide ones there is one."""
RATE, FLOW_RATE, TEXTURE_RATE, LEARN_RATE, LATER_RATE, NORM = 2e-3, 5e-4, 1e-3, 6e-4, 3e-4, 5.0
"""Highest learning rates: of kernels, of the flow estimator, which knows something of flow, of the 3D network, of all where most is new, and
of all later; to which gradients are clipped."""
MANY = 32
"""Small crops of a step of the 3D network: of few scenes a step, it learnt a quarter as much."""
SEEN = 8
"""Times as many, of which its norms take their statistics."""
MOMENTUM = 0.02
"""Momentum of the norms' statistics, which are of one or two crops a step: so they are of some fifty."""
ALPHA = 0.1
"""Weight of the true picture beside the teacher's, Eq. 4."""
FAINT = 0.1
"""Share of a last convolution's random weights with which it begins: with none, those before it learn nothing for long."""
CENTRE = 5.0
"""Logit of a kernel's middle tap at the start; the others are 0."""
ROBUST, SOFT = 0.7, 0.1
"""A flow that is wrong by d pixels costs (d + SOFT) ** ROBUST, so that the few that move farther than can be found do not outweigh all."""
TINY = 1e-6
"""Keeps a distance's gradient finite where it is zero."""


class Curriculum(nn.Module):
    """The losses, and the network that learns.

    Args:
        network: to train.
        samples: windows of five frames: two, the target, two.
        wide: the same in wide crops.
        teacher: whose pictures it learns from, too; None for the true ones alone.
        guide: whose flow it learns first; None for pictures alone.
        rng: draws what samples do not.
    """

    def __init__(
        self,
        network: STMFNet,
        samples: Samples,
        wide: Samples,
        teacher: STMFNet | None,
        guide: Guide | None,
        rng: np.random.Generator,
    ) -> None:
        super().__init__()
        self.network, self._samples, self._wide, self._teacher = network, samples, wide, teacher
        self._moving = MovingCrops(samples, teacher, rng)
        self._lessons = Lessons(wide, guide) if guide else None

    def stages(self) -> tuple[Stage, ...]:
        """What moves pixels first, by the guide's flow if there is one, then all."""
        return self._without_flow() if self.network.sizes.flow is None else self._with_flow()

    def _with_flow(self) -> tuple[Stage, ...]:
        """The flow estimator moves pixels. It learns as well, which it does not as published: ours has seen made-up motion alone."""
        own = self.network
        movers = (own.motion, own.trust)
        stages = (
            Stage("move", 0.4, FLOW_RATE, movers, self.splatted, gradient_norm=NORM),
            Stage("learn", 0.1, LATER_RATE, self._all(), self.learn, gradient_norm=NORM),
        )
        if self._lessons is None:
            return stages
        return (Stage("flow", 0.5, FLOW_RATE, movers[:1], self.flow, gradient_norm=NORM), *stages)

    def _without_flow(self) -> tuple[Stage, ...]:
        """The 3D network alone, if it sees changes; else all starts from nothing, or a guide teaches the full-size kernels first."""
        own = self.network
        if own.sizes.changes and self._lessons is None:
            return (Stage("texture", 1.0, TEXTURE_RATE, (own.texture,), self.texture, gradient_norm=NORM),)
        stages = (
            Stage("learn", 0.4, LEARN_RATE, self._all(), self.learn, gradient_norm=NORM),
            Stage("settle", 0.2, LATER_RATE, self._all(), self.settle, gradient_norm=NORM),
        )
        if self._lessons is None:
            return stages
        return (Stage("flow", 0.4, RATE, (own.features, own.kernels), self.taps, gradient_norm=NORM), *stages)

    def _all(self) -> tuple[nn.Module, ...]:
        own = self.network
        movers = () if own.sizes.flow is None else (own.motion, own.trust)
        return (own.features, own.kernels, *movers, own.grid, own.texture)

    def flow(self) -> Loss:
        """How far the estimator's flow of every level, in both directions, is from the guide's."""
        assert self._lessons is not None
        frame1, frame2, shown = self._lessons.draw(1)
        motion = self.network.motion
        first, second = motion.pyramid(frame1), motion.pyramid(frame2)
        truth, trust = torch.cat(shown.between()), torch.cat([shown.trust] * 2)
        found = zip(motion.matches(first, second), motion.matches(second, first), strict=True)
        wrong = [_apart(torch.cat(flows) * FLOW_SCALE, truth, trust) for flows in found]
        total = torch.stack([(each + SOFT).pow(ROBUST).mean() for each in wrong]).sum()
        return Loss(total, {"pixels": wrong[-1].mean(), "still": _apart(truth * 0, truth, trust).mean()})

    def taps(self) -> Loss:
        """How far the taps of the full-size kernels are from where the guide says that things are."""
        assert self._lessons is not None
        frame1, frame2, shown = self._lessons.draw(1)
        features = self.network.features(frame1, frame2)
        wrong = [
            _taps_apart(*self._kernel(name, features), flow, shown.trust)
            for name, flow in zip(FRAMES, (shown.before, shown.after), strict=True)
        ]
        total = torch.stack([(each + SOFT).pow(ROBUST).mean() for each in wrong]).sum()
        still = _apart(shown.before * 0, shown.before, shown.trust)
        return Loss(total, {"pixels": wrong[0].mean(), "still": still.mean()})

    def splatted(self) -> Loss:
        """What both frames make together where the estimator's flow leads them, halfway."""
        _, frame1, _, frame2, _ = frames = _crops(self._wide, 1)
        return self._compared(self.network.moved(frame1, frame2, (frame1 + frame2) / 2), frames)

    def learn(self) -> Loss:
        """Eq. 4, or its first term alone."""
        frames = _crops(self._samples, BATCH)
        frame0, frame1, _, frame2, frame3 = frames
        made = self.network(frame0, frame1, frame2, frame3)
        loss = self._compared(made, frames)
        if self._teacher is None:
            return loss
        with torch.no_grad():
            shown = self._teacher(frame0, frame1, frame2, frame3)
        total = ALPHA * loss.total + laplacian(made, shown)
        return Loss(total, {**loss.parts, "teacher": l1(shown, frames[2])})

    def texture(self) -> Loss:
        """The 3D network alone in small crops that move, by absolute differences at half size, of the truth or as Eq. 4 weighs both.

        The pyramid's finest level, which nothing predicts, outweighs the others where little is known: by it the network learnt a quarter as much.
        """
        self.network.eval()
        frames = self._moving.draw(MANY)
        made, target, *shown = (
            F.avg_pool2d(each, 2) for each in (self._textured(frames), frames[2], *frames[5:])
        )
        average = F.avg_pool2d((frames[1] + frames[3]) / 2, 2)
        wrong = l1(made, target)
        parts = {"l1": wrong, "average": l1(average, target)}
        if not shown:
            return Loss(wrong, parts)
        return Loss(ALPHA * wrong + l1(made, shown[0]), {**parts, "teacher": l1(shown[0], target)})

    @torch.no_grad()
    def scale_texture(self) -> None:
        """Give the norms of the 3D network, before it learns, the statistics of crops that move. It keeps them: by those of every step it learnt half as much."""
        norms = [each for each in self.network.texture.modules() if isinstance(each, nn.BatchNorm3d)]
        for norm in norms:
            norm.momentum = None  # the mean of all
        for _ in range(SEEN):
            self._textured(self._moving.draw(MANY))

    def _textured(self, frames: Tensor) -> Tensor:
        """The frame between, of a network whose blend is what it begins with: the average of both frames."""
        frame0, frame1, _, frame2, frame3 = frames[:5]
        return self.network.finish(frame0, frame1, frame2, frame3, (frame1 + frame2) / 2)

    def settle(self) -> Loss:
        """The same with the norms' statistics as they are: those of two crops are not what whole frames are judged by."""
        self.network.eval()
        return self.learn()

    def _kernel(self, frame: str, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weights and offsets of a frame's full-size kernels."""
        weight, alpha, beta = (self.network.kernels[f"full_{frame}_{part}"](features) for part in PARTS)
        return weight, alpha, beta

    def _compared(self, made: Tensor, frames: Tensor) -> Loss:
        _, frame1, target, frame2, _ = frames
        parts = {"l1": l1(made, target), "average": l1((frame1 + frame2) / 2, target)}
        return Loss(laplacian(made, target), parts)


def _crops(samples: Samples, count: int) -> Tensor:
    """Frames of `count` windows, five of each: (5, count, 3, h, w)."""
    # Channels first: of channels last, torch 2.13's gradients of grouped transposed convolutions write beside their memory.
    return samples.crops(count).contiguous()


def _taps_apart(weight: Tensor, alpha: Tensor, beta: Tensor, flow: Tensor, trust: Tensor) -> Tensor:
    """Distance of a kernel's taps from where a flow leads, by their weights, in pixels: (n, 1, h, w).

    Args:
        weight: of a kernel, (n, taps, h, w).
        alpha: its vertical offsets.
        beta: its horizontal ones.
        flow: (n, 2, h, w), x then y, in pixels.
        trust: of each pixel, (n, 1, h, w).
    """
    side = isqrt(weight.shape[1])
    steps = torch.arange(side, dtype=flow.dtype, device=flow.device) - side // 2
    rows, columns = (each.reshape(-1, 1, 1) for each in torch.meshgrid(steps, steps, indexing="ij"))
    away = torch.hypot(beta + columns - flow[:, :1], alpha + rows - flow[:, 1:] + TINY)
    return (weight * away).sum(1, keepdim=True) * trust


def _apart(flow: Tensor, truth: Tensor, trust: Tensor) -> Tensor:
    """Distance of a flow, (n, 2, h / s, w / s), from the true one, in pixels of that one's size: (n, 1, h / s, w / s)."""
    side = truth.shape[-1] // flow.shape[-1]
    truth, trust = (F.avg_pool2d(each, side) for each in (truth, trust))
    across, down = (flow - truth + TINY).unbind(1)
    return torch.hypot(across, down).unsqueeze(1) * trust


def start(network: STMFNet) -> None:
    """Weights with which a residual network is the average of both frames, or nearly so: a 3D network that sees changes begins faint."""
    with torch.no_grad():
        for name, head in network.kernels.items():
            bias = _emptied([layer for layer in head.children() if isinstance(layer, nn.Conv2d)][-1])
            if name.endswith("weight"):
                bias[bias.numel() // 2] = CENTRE
        for last in (network.grid.last.branch[-1], network.grid.last.skip):
            _emptied(last)
        _emptied(network.texture.last[-1], FAINT if network.sizes.changes else 0.0)


def _emptied(conv: nn.Module, left: float = 0.0) -> torch.Tensor:
    """Leave a share of a convolution's weights, and nothing of its bias, which is returned."""
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    conv.weight.mul_(left)
    return conv.bias.zero_()


def load_motion(network: STMFNet) -> None:
    """The flow estimator of CAIN-SD's small model, which has the same sizes.

    Raises:
        TrainError: this one has others.
    """
    path = motion_weights("small", "SD")
    if path is None or dict(network.sizes.flow or {}) != cain_sd.PRESETS["small"].pwc:
        raise TrainError("no flow estimator of these sizes comes with edgeflow: train the preset tiny")
    own = "sd_finder.motion."
    tensors = {name: tensor for name, tensor in read_weights(path)[0].items() if name.startswith(own)}
    network.motion.load_state_dict({name.removeprefix(own): tensor for name, tensor in tensors.items()})


def begin(order: Order) -> Trainee:
    """What `edgeflow train st-mfnet` trains."""
    model = build(order.preset, order.variant)
    if isinstance(model, Pair):
        return st_mfnet_router.begin(order, model)
    model.train()
    clips = order.clips(None).training
    samples, wide = (Samples(clips, side, order.rng, Window) for side in (CROP, WIDE))
    teacher = _teacher(order)
    network = model.network
    if network.sizes.residual:
        start(network)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d):
            norm.momentum = MOMENTUM
    if order.options.get("start"):
        load_weights(model, order.options["start"])
    elif network.sizes.flow is not None:
        load_motion(network)
    guide = Guide() if order.options.get("guide") else None
    curriculum = Curriculum(network, samples, wide, teacher, guide, order.rng)
    if network.sizes.changes and not order.options.get("start"):
        curriculum.scale_texture()
    facts = {
        name: str(order.options[name]) for name in ("teacher", "guide", "start") if name in order.options
    }
    return Trainee(model, model, curriculum.stages(), facts)


def _teacher(order: Order) -> STMFNet | None:
    """The network of the preset that `--teacher` names, in eval mode: its norms stay as they are."""
    name = order.options.get("teacher")
    if name is None:
        return None
    if name not in PRESETS:
        raise TrainError(f"--teacher is a preset, one of {', '.join(PRESETS)}, got {name!r}")
    weights: Path | None = order.options.get("teacher_weights") or pretrained(name)
    if weights is None:
        raise TrainError(f"{name} comes without weights: name them by --teacher-weights")
    teacher: Interpolator = build(name)
    load_weights(teacher, weights)
    return teacher.network.eval().requires_grad_(False)
