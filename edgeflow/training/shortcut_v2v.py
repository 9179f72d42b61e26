"""The curriculum of Shortcut-V2V.

The Shortcut block is trained as in the paper (section 3.3) beside a teacher that is left alone. Ours
are the two stages before it, which the paper takes from elsewhere: a network for the perceptual
distance, and a teacher, which learns to paint each frame of the clips from what its first modules see.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from edgeflow.models.shortcut_v2v import PRESETS, ShortcutV2V, build
from edgeflow.models.shortcut_v2v.weights import load_teacher
from edgeflow.training.adversarial import PatchDiscriminator, to_fool, to_tell
from edgeflow.training.device import fast
from edgeflow.training.loop import Loss, Stage
from edgeflow.training.losses import l1
from edgeflow.training.order import Order, Trainee
from edgeflow.training.perceptual import Features, distance, rotation
from edgeflow.training.samples import Pairs

WEIGHTS = {"align": 5.0, "feature": 5.0, "output": 10.0, "perceptual": 10.0, "gan": 1.0, "temporal": 1.0}
"""Weights of the losses in Eq. 9. The perceptual distance is ours (see `perceptual`), not LPIPS on VGG."""
BETAS = (0.5, 0.999)
TURNED = 96
"""Side of the crops whose rotation is guessed, in pixels."""


@dataclass(frozen=True)
class Recipe:
    """How a preset is trained.

    Attributes:
        batch: frames, or pairs of frames, per step.
        rate: highest learning rate of the block's stage; 2e-4 in the paper.
        width: of the discriminators; 64 in the paper.
    """

    batch: int
    rate: float
    width: int


RECIPES = {"full": Recipe(batch=16, rate=2e-4, width=64), "tiny": Recipe(batch=1, rate=4e-3, width=8)}
"""By preset. The full one's numbers are the paper's; the tiny one's suit an hour on one core."""


class Curriculum(nn.Module):
    """The losses of the stages, and every network that learns.

    Args:
        model: whose block is trained, and whose teacher if `teach`.
        samples: where frames come from.
        recipe: of its preset.
        teach: whether the teacher is trained too.
    """

    def __init__(self, model: ShortcutV2V, samples: Pairs, recipe: Recipe, teach: bool) -> None:
        super().__init__()
        self.model, self.samples, self.recipe, self.teach = model, samples, recipe, teach
        self.features = Features()
        self.picture_critic = PatchDiscriminator(3, recipe.width)
        self.pair_critic = PatchDiscriminator(6, recipe.width)

    def stages(self) -> tuple[Stage, ...]:
        """The perceptual network, the teacher if there is none yet, and the block."""
        model = self.model
        critics = (self.picture_critic, self.pair_critic)
        stages = [Stage("perceptual", 0.02, 1e-3, (self.features,), self.turns, gradient_norm=1.0)]
        if self.teach:
            teacher = (model.encode, model.middle, model.decode)
            stages.append(Stage("teacher", 0.45, 1e-3, teacher, self.paint, gradient_norm=1.0))
        stages.append(
            Stage(
                "block",
                0.5,
                self.recipe.rate,
                (model.block, *critics),
                self.shortcut,
                betas=BETAS,
                gradient_norm=10.0,
            )
        )
        return tuple(stages)

    def turns(self) -> Loss:
        """The perceptual network, by guessing rotations."""
        frames = self.samples.draw(4 * self.recipe.batch, 1)[0]
        height, width = frames.shape[2:]
        top, left = ((side - TURNED) // 2 for side in (height, width))
        loss, right = rotation(self.features, frames[..., top : top + TURNED, left : left + TURNED])
        return Loss(loss, {"right": right})

    def paint(self) -> Loss:
        """The teacher: each frame from itself, through its first modules (`tiny`: the edges)."""
        model, frames = self.model, self.samples.draw(2 * self.recipe.batch, 1)[0]
        with fast():
            painted = model.decode(model.middle(model.encode(frames)))
            perceptual = distance(self.features, painted, frames)
        output = l1(painted.float(), frames)
        return Loss(10 * output + 10 * perceptual, {"output": output, "perceptual": perceptual})

    def shortcut(self) -> Loss:
        """The block and its critics, Eq. 9; gradients of one never reach the other."""
        model = self.model
        key, frame = self.samples.draw(self.recipe.batch, model.interval - 1)
        with torch.no_grad(), fast():
            a_ref, a = model.encode(key).float(), model.encode(frame).float()
            f_ref, f = model.middle(a_ref).float(), model.middle(a).float()
            before, wanted = model.decode(f_ref).float(), model.decode(f).float()
        alignment = model.block.align(a, a_ref, f_ref)
        guess = model.block.expand(model.block.blend(*alignment))
        with fast():
            picture = model.decode(guess)
            perceptual = distance(self.features, picture, wanted)
        picture = picture.float()
        pair, wanted_pair = torch.cat([before, picture], 1), torch.cat([before, wanted], 1)
        parts = {
            "align": l1(model.block.deformed(alignment), f),
            "feature": l1(guess, f),
            "output": l1(picture, wanted),
            "perceptual": perceptual,
            "gan": to_fool(self.picture_critic, picture),
            "temporal": to_fool(self.pair_critic, pair),
        }
        critics = to_tell(self.picture_critic, wanted, picture) + to_tell(self.pair_critic, wanted_pair, pair)
        total = torch.stack([WEIGHTS[name] * part for name, part in parts.items()]).sum()
        stale = l1(f_ref, f)
        return Loss(total + critics, {**parts, "critics": critics, "stale": stale})


def begin(order: Order) -> Trainee:
    """What `edgeflow train` trains: the block, and the teacher first if none is given."""
    model = build(order.preset, order.variant).train()
    teacher = order.options.get("teacher")
    if teacher:
        load_teacher(model, teacher)
    samples = Pairs(order.clips(PRESETS[order.preset].size).training, order.rng)
    curriculum = Curriculum(model, samples, RECIPES[order.preset], teach=teacher is None)
    identity = {"teacher": teacher.name if teacher else "trained"}
    return Trainee(model, curriculum, curriculum.stages(), identity)
