"""The curriculum of VA-RED2: first what is right, then with as little as that takes.

Source: VA-RED2, section 3 (shared weights, Eq. 5; efficiency loss, Eq. 6) and section 4 (a phase of its own for the latter).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeflow.ir.errors import TrainError
from edgeflow.models.va_red2 import PRESETS, Plain, Reduced, build
from edgeflow.models.va_red2.model import STATIC
from edgeflow.models.weights import check_fit, read_weights
from edgeflow.training.loop import Loss, Stage
from edgeflow.training.motion import Motions, stored_size, training_part
from edgeflow.training.order import Order, Trainee

BATCH = 12
RATE, LATER_RATE = 3e-3, 6e-3
"""Highest learning rates of the first phase and of those with a price."""
NORM = 5.0
"""To which gradients are clipped."""
PRICE = 0.8
"""Weight of the efficiency loss, the paper's."""
SOFT = 2.0
"""Temperature at which a trained static network teaches."""
MOVING, NEAR = 0.25, 0.02
"""What the price of a clip is, over that of one whose frames are all alike, where they differ much; and by how much frames
differ, in the mean, that are a third as alike. What is redundant costs most to compute."""
STILL = 5.0
"""What a gate costs that is open for all frames of a clip whose frames are all alike, times how far it is open. By its share of
the price alone no gate learnt to tell such clips apart, though what it sees tells."""
WHEN_WRONG = 0.0
"""What the cost of a clip that is not named right counts, over that of one that is: the paper gives neither. Nothing is saved where
the answer is wrong."""


class Curriculum(nn.Module):
    """The losses, and the network that learns.

    Args:
        model: to train.
        motions: where clips come from.
        price: weight of the efficiency loss.
        teacher: a trained static network, if the model began with its weights; what the model says is drawn to what it says.
    """

    def __init__(
        self, model: Reduced | Plain, motions: Motions, price: float, teacher: Plain | None = None
    ) -> None:
        super().__init__()
        self.model, self._motions, self._price = model, motions, price
        self._taught = (lambda clips: teacher.plain(clips)) if teacher else None  # it does not learn

    def stages(self) -> tuple[Stage, ...]:
        """All open-gated first, then with a price on what is computed, in the end with norms as they will run.

        The plain network has the first alone, for as long.
        """
        if isinstance(self.model, Plain):
            return (Stage("learn", 1.0, RATE, (self.model,), self.learn, gradient_norm=NORM),)
        known = (self.model.pieces, *(layer.conv for layer in self.model.layers)) if self._taught else ()
        return (
            Stage("learn", 0.2, RATE, (self.model,), self.learn, gradient_norm=NORM, slower=known),  # type: ignore[arg-type]
            Stage("save", 0.4, LATER_RATE, (self.model,), self.save, gradient_norm=NORM, slower=known),  # type: ignore[arg-type]
            Stage("settle", 0.4, LATER_RATE, (self.model,), self.settle, gradient_norm=NORM, slower=known),  # type: ignore[arg-type]
        )

    def learn(self) -> Loss:
        """Cross-entropy."""
        drawn = self._motions.draw(BATCH)
        scores = (
            self.model.plain(drawn.clips)
            if isinstance(self.model, Plain)
            else self.model.shared(drawn.clips)[0]
        )
        return Loss(F.cross_entropy(scores, drawn.labels), {"right": _right(scores, drawn.labels).mean()})

    def save(self) -> Loss:
        """Cross-entropy, and the cost of the clips that are named right, Eq. 6; and how far from what a teacher says."""
        assert isinstance(self.model, Reduced)
        drawn = self._motions.draw(BATCH)
        clips = recoloured(drawn.clips)
        scores, gates = self.model.shared(clips)
        right = _right(scores, drawn.labels)
        costs = relative_cost(self.model, gates)
        alike = likeness(clips)
        prices = MOVING + (1 - MOVING) * alike
        efficiency = (costs * prices * torch.where(right > 0, 1.0, WHEN_WRONG)).mean()
        labels = F.cross_entropy(scores, drawn.labels)
        repeated = (alike * all_frames(self.model, gates)).mean()
        parts = {"labels": labels, "right": right.mean(), "cost": costs.mean(), "repeated": repeated}
        if self._taught:
            parts["taught"] = _apart(scores, self._taught(clips))
        return Loss(labels + parts.get("taught", 0) + self._price * (efficiency + STILL * repeated), parts)

    def settle(self) -> Loss:
        """As `save`, with the statistics that norms have by now: a gate that is normed over the batch sees in it what other clips are."""
        self.model.eval()
        return self.save()


def likeness(clips: Tensor) -> Tensor:
    """How alike the frames of clips (n, t, 3, h, w) are: (n,), 1 where they are the same."""
    return torch.exp(-(clips[:, 1:] - clips[:, :-1]).abs().mean((1, 2, 3, 4)) / NEAR)


def recoloured(clips: Tensor) -> Tensor:
    """Clips (n, t, 3, h, w) in [0, 1] in other light: each brighter or darker, its colours and contrast changed, alike in all frames."""
    of_clip, of_colour = (len(clips), 1, 1, 1, 1), (len(clips), 1, 3, 1, 1)
    bent = clips.clamp(min=1e-4) ** torch.empty(of_clip).uniform_(-0.35, 0.35).exp()
    return (
        bent * torch.empty(of_clip).uniform_(0.6, 1.4) * torch.empty(of_colour).uniform_(0.8, 1.25)
    ).clamp(0, 1)


def _apart(scores: Tensor, taught: Tensor) -> Tensor:
    """How far scores are from a teacher's."""
    said, told = (F.log_softmax(each / SOFT, 1) for each in (scores, taught.detach()))
    return F.kl_div(said, told, reduction="batchmean", log_target=True) * SOFT**2


def all_frames(model: Reduced, gates: Sequence[tuple[Tensor, ...]]) -> Tensor:
    """How far gates are open that have layers compute all frames, summed over layers: (n,)."""
    layers = zip(model.layers, gates, strict=True)
    of_frames = [own[0][:, 0] for layer, own in layers if len(layer.strides) > 1]  # type: ignore[arg-type]
    return torch.stack(of_frames).sum(0) if of_frames else torch.zeros(len(gates[0][0]))


def relative_cost(model: Reduced, gates: Sequence[tuple[Tensor, ...]]) -> Tensor:
    """What clips take of what the dynamic layers cost in full: (n,), differentiable by the gates."""
    total = torch.zeros(len(gates[0][0]))
    for share, layer, own in zip(model.shares, model.layers, gates, strict=True):
        cost = torch.ones(len(total))
        for values, gate in zip(layer.branches, own, strict=True):  # type: ignore[arg-type]
            cost = cost * _part(values, gate)
        total = total + share * cost
    return total


def _part(values: Sequence[int], gates: Tensor) -> Tensor:
    """What the first open branch computes, 1 over its value: (n,). Open or not counts; how far gives the gradient."""
    opened = (gates > 0).to(gates) + gates - gates.detach()
    part = torch.full((len(gates),), 1 / values[-1])  # of a clip with no gate open the last branch is taken
    for place in reversed(range(len(values) - 1)):
        part = opened[:, place] / values[place] + (1 - opened[:, place]) * part
    return part


def _right(scores: Tensor, labels: Tensor) -> Tensor:
    """1 for a clip that is named right, else 0: (n,)."""
    return (scores.detach().argmax(1) == labels).to(scores)


def begin(order: Order) -> Trainee:
    """What `edgeflow train va-red2` trains."""
    frames = PRESETS[order.preset].frames
    if frames is None:
        raise TrainError(
            f"{order.preset} reads single pictures, and motions are told by clips: train it with your own labels"
        )
    model = build(order.preset, order.variant).train()
    network = order.options.get("network")
    if network:
        load_network(model, network)
    size = PRESETS[order.preset]
    motions = Motions(training_part(order.clips(stored_size(size.side))), frames, size.side, order.rng)
    curriculum = Curriculum(model, motions, float(order.options.get("price", PRICE)), _teacher(order))
    return Trainee(
        model, curriculum, curriculum.stages(), {"network": network.name if network else "trained"}
    )


def _teacher(order: Order) -> Plain | None:
    """The static network that a dynamic one began with."""
    network = order.options.get("network")
    if not network or order.variant == STATIC:
        return None
    teacher = build(order.preset, STATIC)
    assert isinstance(teacher, Plain)
    load_network(teacher, network)
    return teacher.requires_grad_(False)


def load_network(model: Reduced | Plain, path: Path) -> None:
    """Load what the plain network learnt: all but gates and cheap operations.

    Raises:
        TrainError: no such file, one that is not whole, or another network.
    """
    tensors, metadata = read_weights(path)
    found = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    own = (model.model if isinstance(model, Plain) else model).state_dict()
    learnt = {
        name
        for name in own
        if not name.startswith("gates.") and ".rest." not in name and ".later." not in name
    }
    check_fit({n: own[n] for n in learnt}, {n: found[n] for n in learnt & found.keys()}, path, metadata)
    own.update({name: found[name] for name in learnt})
    (model.model if isinstance(model, Plain) else model).load_state_dict(own)
