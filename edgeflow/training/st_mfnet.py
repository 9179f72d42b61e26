"""Training ST-MFNet: the picture between, by the Laplacian pyramid; a Mini also by what its teacher makes.

Source: ST-MFNet Mini, section II-B and Eq. 4. Ours are: the flow estimator is CAIN-SD's small one, trained on made-up motion, since no
published weights are used; and networks begin as the average of both frames.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from edgeflow.ir.errors import TrainError
from edgeflow.models import cain_sd
from edgeflow.models.cain_sd.weights import pretrained as motion_weights
from edgeflow.models.st_mfnet import PRESETS, Interpolator, Pair, STMFNet, build
from edgeflow.models.st_mfnet.kernels import PARTS
from edgeflow.models.st_mfnet.weights import pretrained
from edgeflow.models.weights import load_weights, read_weights
from edgeflow.ops.adacof import adacof
from edgeflow.training.loop import Loss, Stage
from edgeflow.training.losses import l1, laplacian
from edgeflow.training.order import Order, Trainee
from edgeflow.training.samples import Samples, Window

CROP, BATCH = 64, 4
RATE, LATER_RATE, NORM = 2e-3, 3e-4, 5.0
"""Highest learning rates of both stages, and to which gradients are clipped."""
ALPHA = 0.1
"""Weight of the true picture beside the teacher's, Eq. 4."""
CENTRE = 5.0
"""Logit of a kernel's middle tap at the start; the others are 0."""


class Curriculum(nn.Module):
    """The losses, and the network that learns.

    Args:
        network: to train.
        samples: windows of five frames: two, the target, two.
        teacher: whose pictures it learns from, too; None for the true ones alone.
    """

    def __init__(self, network: STMFNet, samples: Samples, teacher: STMFNet | None) -> None:
        super().__init__()
        self.network, self._samples, self._teacher = network, samples, teacher

    def stages(self) -> tuple[Stage, ...]:
        """The full-size kernels first, then all.

        The flow estimator learns as well, which it does not as published: ours has seen made-up motion alone.
        """
        own = self.network
        rest: list[nn.Module] = [own.grid, own.texture]
        if own.sizes.flow is not None:
            rest += [own.motion, own.trust]
        kernels = (own.features, own.kernels)
        return (
            Stage("kernels", 0.85, RATE, kernels, self.motion, gradient_norm=NORM),
            Stage("learn", 0.15, LATER_RATE, (*kernels, *rest), self.learn, gradient_norm=NORM),
        )

    def motion(self) -> Loss:
        """The average of both frames as the full-size kernels move them: a sixth of the work, and what motion is learnt from."""
        _, frame1, target, frame2, _ = frames = self._crops(BATCH)
        features = self.network.features(frame1, frame2)
        made = torch.zeros_like(target)
        for name, frame in (("first", frame1), ("second", frame2)):
            kernel = [self.network.kernels[f"full_{name}_{part}"](features) for part in PARTS]
            made = made + adacof(frame, *kernel) / 2
        return self._compared(made, frames)

    def learn(self) -> Loss:
        """Eq. 4, or its first term alone."""
        frames = self._crops(BATCH)
        frame0, frame1, _, frame2, frame3 = frames
        return self._compared(self.network(frame0, frame1, frame2, frame3), frames)

    def _compared(self, made: torch.Tensor, frames: torch.Tensor) -> Loss:
        frame0, frame1, target, frame2, frame3 = frames
        loss = laplacian(made, target)
        parts = {"l1": l1(made, target), "average": l1((frame1 + frame2) / 2, target)}
        if self._teacher is None:
            return Loss(loss, parts)
        with torch.no_grad():
            shown = self._teacher(frame0, frame1, frame2, frame3)
        return Loss(ALPHA * loss + laplacian(made, shown), {**parts, "teacher": l1(shown, target)})

    def _crops(self, count: int) -> torch.Tensor:
        """Frames of `count` windows, five of each: (5, count, 3, h, w)."""
        # Channels first: of channels last, torch 2.13's gradients of grouped transposed convolutions write beside their memory.
        return self._samples.crops(count).contiguous()


def start(network: STMFNet) -> None:
    """Weights with which a residual network is the average of both frames."""
    with torch.no_grad():
        for name, head in network.kernels.items():
            bias = _emptied([layer for layer in head.children() if isinstance(layer, nn.Conv2d)][-1])
            if name.endswith("weight"):
                bias[bias.numel() // 2] = CENTRE
        for last in (network.grid.last.branch[-1], network.grid.last.skip, network.texture.last[-1]):
            _emptied(last)


def _emptied(conv: nn.Module) -> torch.Tensor:
    """Set a convolution's weights to zero; its bias."""
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    conv.weight.zero_()
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
    model = build(order.preset, order.variant).train()
    if isinstance(model, Pair):
        raise TrainError("a pair is trained network by network: train each preset's variant alone")
    samples = Samples(order.clips(None).training, CROP, order.rng, Window)
    teacher = _teacher(order)
    network = model.network
    if network.sizes.residual:
        start(network)
    if network.sizes.flow is not None:
        load_motion(network)
    curriculum = Curriculum(network, samples, teacher)
    facts = {"teacher": order.options["teacher"]} if teacher else {}
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
