"""The curriculum of CAIN-SD.

The three steps are the paper's (section 3.4). Ours are: a stage that trains the flow estimator on
made-up motion, since no pretrained one may be used; a crop at a random scale in step 1, so that
scales work from the start; before steps 2 and 3 a stage each that fits the choice net to the
measured losses of all choices, without which the few minutes of a small run do not suffice for
the straight-through gradient to find where depth and scale pay; and the logarithm of the squared error in place of L1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from edgeflow.flow import Training, cost
from edgeflow.flow.tensors import pool_map
from edgeflow.flow.train import TilesTaken
from edgeflow.ir.route import Choice
from edgeflow.ir.tiles import TileGrid
from edgeflow.models.cain_sd import CAINSD, build
from edgeflow.models.cain_sd.model import GRID
from edgeflow.models.cain_sd.pwc import FLOW_SCALE
from edgeflow.ops.warp import warp
from edgeflow.training.device import fast
from edgeflow.training.loop import Loss, Stage
from edgeflow.training.losses import (
    Resource,
    endpoint,
    errors,
    l1,
    lean_to,
    mismatch,
    over_exits,
    random_flow,
)
from edgeflow.training.order import Order, Trainee
from edgeflow.training.samples import Samples


@dataclass(frozen=True)
class Recipe:
    """How a preset is trained.

    Attributes:
        crop: side of step 1's crops, in pixels.
        batch: crops per step.
        tiles: tiles of a frame per step of the later stages.
        lambda_scale: weight of scale's FLOPs per pixel in the loss (Eq. 14).
        lambda_depth: weight of depth's.
        softness: loss by which a choice must be better to be preferred e times.
    """

    crop: int
    batch: int
    tiles: int
    lambda_scale: float
    lambda_depth: float
    softness: float = 2e-5


RECIPES = {
    "full": Recipe(crop=256, batch=16, tiles=6, lambda_scale=5e-9, lambda_depth=5e-11),
    "small": Recipe(crop=96, batch=8, tiles=6, lambda_scale=5e-8, lambda_depth=1e-10),
    "tiny": Recipe(crop=64, batch=2, tiles=2, lambda_scale=2e-8, lambda_depth=2e-8),
}
"""By preset. The full one's lambdas are the paper's."""

AXES = {"S": "scale", "D": "exit"}
"""What each letter of a variant decides."""
FAR = 32
"""Pixels around a crop that made-up motion may bring into it: what came from nowhere would tell the
motion without any matching."""
SCALES_DRAWN = (0.7, 0.18, 0.12)
"""How often step 1 draws each scale."""


class Curriculum:
    """The losses of the stages of CAIN-SD.

    Args:
        model: what is trained.
        samples: where crops and frames come from.
        recipe: of its preset.
    """

    def __init__(self, model: CAINSD, samples: Samples, recipe: Recipe) -> None:
        self.model, self.samples, self.recipe = model, samples, recipe
        weights = {"scale": recipe.lambda_scale, "exit": recipe.lambda_depth}
        self.resource = Resource(cost(model), model.preset.tile**2, weights)

    def start(self) -> None:
        """Random weights from which a short training gets somewhere.

        The body's branches start small, and what is added to the picture at zero, so that a residual
        interpolator starts as the frames' average and a residual super-resolver as bicubic, which
        chance corrections would take thousands of steps to regain.
        """
        for module in self.model.cain.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, 0.2)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if name.startswith("cain") and name.endswith(("second.weight", "last.weight")):
                    parameter.mul_(0.2)
                if name.startswith(("cain.tail_conv", "carn.exit")):
                    parameter.zero_()

    def stages(self) -> tuple[Stage, ...]:
        """The stages of the model's variant: S has no step 2, D no step 3."""
        model, finder = self.model, self.model.sd_finder
        nets = (model.cain, model.carn)
        stages = []
        if "S" in model.variant:
            stages.append(Stage("flow", 0.15, 1e-3, (finder.motion,), self.flow))
        stages.append(Stage("exits", 0.45, 5e-4, nets, self.exits))
        if "D" in model.variant:
            stages += self._choice("depth", "exit", finder.depth_net)
        if "S" in model.variant:
            stages += self._choice("scale", "scale", finder.scale_net)
        return tuple(stages)

    def _choice(self, name: str, axis: str, net: nn.Module) -> list[Stage]:
        fit: Callable[[], Loss] = self.fit_depth if axis == "exit" else self.fit_scale
        return [
            Stage(f"{name}-fit", 0.08, 1e-3, (net,), fit),
            Stage(name, 0.12, 1e-4, (net, self.model.cain, self.model.carn), lambda: self.route(axis)),
        ]

    def flow(self) -> Loss:
        """Before step 1: the flow estimator, at all its levels, on crops moved by a made-up flow."""
        motion = self.model.sd_finder.motion
        around = F.pad(self.samples.crops(self.recipe.batch)[0], (FAR,) * 4, mode="reflect")
        moved = random_flow(around)
        before, after, truth = (x[..., FAR:-FAR, FAR:-FAR] for x in (warp(around, moved), around, moved))
        here, there = motion.pyramid(before), motion.pyramid(after)
        missed = [endpoint(flow * FLOW_SCALE, truth) for flow in motion.matches(here, there)]
        radius = motion.radius
        pairs = zip(here[1:4], there[1:4], strict=True)
        matching = torch.stack([mismatch(first, second, truth, radius) for first, second in pairs]).sum()
        parts = {"pixels": missed[-1], "still": truth.abs().mean(), "matching": matching}
        return Loss(torch.stack(missed).sum() + matching / 2, parts)

    def exits(self) -> Loss:
        """Step 1: the error of every exit, on crops at a random scale, and of super-resolving one."""
        first, target, last = self.samples.crops(self.recipe.batch)
        scales = self.model.scale.values
        scale = int(self.samples.rng.choice([int(s) for s in scales], p=SCALES_DRAWN))
        with fast():
            pictures = self.pictures(first, last, scale)
        if scale == 1:
            measured = {"average": (first + last) / 2, "shallowest": pictures[0], "deepest": pictures[-1]}
            return Loss(
                over_exits(pictures, target),
                {name: l1(picture, target) for name, picture in measured.items()},
            )
        small = F.interpolate(target, scale_factor=1 / scale, mode="bicubic", align_corners=False)
        chosen = pictures[int(self.samples.rng.integers(len(pictures)))]
        enlarged = self.model.carn(chosen.detach(), scale)
        return Loss(over_exits(pictures, small) + errors(enlarged, target).mean(), {})

    def pictures(self, frame0: torch.Tensor, frame1: torch.Tensor, scale: int) -> list[torch.Tensor]:
        """Every exit's picture, shallowest first, not super-resolved: (n, 3, h / scale, w / scale)."""
        first, base = self.model.head(frame0, frame1, scale)
        x, found = first, []
        for group in self.model.cain.groups:
            x = group(x)
            found.append(self.model.cain.tail(x, first, base))
        return found

    def fit_depth(self) -> Loss:
        """Before step 2: DepthNet leans to the exits that were measured to be good at scale 1."""
        first, target, last = self.samples.frames(1)
        taken, logits = self._tiles(first, last)
        with torch.no_grad():
            pictures = self.pictures(taken.cut(first), taken.cut(last), 1)
            losses = _per_tile(pictures, taken.cut(target))
        prices = self._prices({"scale": 1}, "exit")
        return self._lean(logits["exit"], losses, prices)

    def fit_scale(self) -> Loss:
        """Before step 3: ScaleNet leans to the scales that were measured to be good at DepthNet's exits."""
        first, target, last = self.samples.frames(1)
        taken, logits = self._tiles(first, last)
        tile0, tile1 = taken.cut(first), taken.cut(last)
        deepest = torch.full((len(tile0),), len(self.model.cain.groups) - 1)
        exits = logits["exit"].argmax(1) if "exit" in logits else deepest
        with torch.no_grad():
            pictures = [self._at_exits(tile0, tile1, int(s), exits) for s in self.model.scale.values]
            losses = _per_tile(pictures, taken.cut(target))
        depths = [int(self.model.exit.values[i]) for i in exits.tolist()]
        prices = torch.stack([self._prices({"exit": depth}, "scale") for depth in depths])
        return self._lean(logits["scale"], losses, prices)

    def route(self, axis: str) -> Loss:
        """Steps 2 and 3: Eq. 13 with straight-through choices; only `axis` is charged for."""
        first, target, last = self.samples.frames(1)
        fixed = {"scale": 1} if axis == "exit" and "S" in self.model.variant else {}
        result = Training(self.model, tiles_per_frame=self.recipe.tiles, fixed=fixed)(first, last)
        error = errors(result.outputs[0], result.tiles["tiles"].cut(target)).mean()
        resource = self.resource(result.masks, axis)
        shares = result.masks[axis].detach().mean(0)
        values = self.model.axes[axis].values
        parts = {f"{axis}={value}": share for value, share in zip(values, shares, strict=True)}
        return Loss(error + resource, {"error": error, "resource": resource, **parts})

    def _tiles(self, first: torch.Tensor, last: torch.Tensor) -> tuple[TilesTaken, dict[str, torch.Tensor]]:
        """Tiles of one frame, drawn by how much changes in them, and their logits by axis."""
        maps = self.model.sd_finder(first, last)
        height, width = first.shape[-2:]
        grid = TileGrid(height, width, self.model.preset.tile, self.model.preset.halo, GRID)
        change = self.model.sd_finder.thumbnail(first - last).abs().mean(1, keepdim=True)
        chances = pool_map(change, grid).flatten() + change.mean() + 1e-6
        count = min(self.recipe.tiles, len(grid))
        numbers = torch.multinomial(chances, count).tolist()
        axes = [AXES[letter] for letter in self.model.variant]
        logits = {axis: pool_map(m, grid)[0, numbers] for axis, m in zip(axes, maps, strict=True)}
        return TilesTaken(grid, [0] * count, numbers), logits

    def _at_exits(
        self, tile0: torch.Tensor, tile1: torch.Tensor, scale: int, exits: torch.Tensor
    ) -> torch.Tensor:
        """Each tile's picture at its own exit (numbered from 0), super-resolved: like `tile0`."""
        pictures = torch.stack(self.pictures(tile0, tile1, scale))
        chosen = pictures[exits, torch.arange(len(exits))]
        enlarged: torch.Tensor = self.model.carn(chosen, scale) if scale > 1 else chosen
        return enlarged

    def _prices(self, rest: dict[str, Choice], axis: str) -> torch.Tensor:
        """Weighted FLOPs per pixel of each value of an axis, the others being as in `rest`."""
        flops = [self.resource.cost.flops({**rest, axis: v}, "tiles") for v in self.model.axes[axis].values]
        return self.resource.weights[axis] * torch.tensor(flops) / self.resource.pixels

    def _lean(self, logits: torch.Tensor, losses: torch.Tensor, prices: torch.Tensor) -> Loss:
        objective = losses + prices
        best = objective.min(1).values.mean()
        taken = objective.gather(1, logits.argmax(1, keepdim=True)).mean()
        return Loss(lean_to(logits, objective, self.recipe.softness), {"best": best, "taken": taken})


def _per_tile(pictures: list[torch.Tensor], target: torch.Tensor) -> torch.Tensor:
    """The loss of each tile in each of several pictures (tiles, 3, h, w): (tiles, pictures)."""
    return torch.stack([errors(picture, target) for picture in pictures], 1)


def begin(order: Order) -> Trainee:
    """What `edgeflow train` trains: the model, and the stages of its curriculum."""
    recipe = replace(RECIPES[order.preset], **order.options)
    samples = Samples(order.clips(None).training, recipe.crop, order.rng)
    model = build(order.preset, order.variant).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    curriculum = Curriculum(model, samples, recipe)
    curriculum.start()
    return Trainee(model, model, curriculum.stages())
