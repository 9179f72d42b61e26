import numpy as np
import pytest
import torch

from edgeflow.ir.errors import TrainError
from edgeflow.models.va_red2 import build
from edgeflow.models.va_red2.weights import pretrained
from edgeflow.models.weights import load_weights
from edgeflow.training.data import Clip
from edgeflow.training.evaluate_va_red2 import evaluate
from edgeflow.training.motion import Motions, Stretch, stored_size
from edgeflow.training.order import Order
from edgeflow.training.va_red2 import Curriculum, all_frames, begin, likeness, recoloured, relative_cost


@pytest.fixture
def motions():
    height, width = stored_size(64)
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (1, height // 8, width // 8, 3), np.uint8)
    frames = np.repeat(coarse.repeat(8, 1).repeat(8, 2), 20, 0)
    clip = Clip("noise", frames, np.zeros((18, 4, 8), np.float32))
    return Motions((Stretch(clip, 0, 20),), 8, 64, rng)


def gates_of(model, first):
    """Gates of one clip where every layer's first open branch of each kind is this one."""
    return [
        tuple(
            torch.tensor([[0.5 if place >= first else 0.0 for place in range(len(v))]])
            for v in layer.branches
        )
        for layer in model.layers
    ]


@pytest.mark.parametrize(("first", "cost"), [(0, 1.0), (1, 0.25), (2, 0.25)])
def test_the_cost_is_that_of_the_first_open_branch(first, cost):
    model = build("tiny", "two")
    assert relative_cost(model, gates_of(model, first)).item() == pytest.approx(cost)


def test_a_price_closes_the_gates_of_the_dearest_layer_most():
    model = build("tiny", "two")
    gates = [tuple(g.requires_grad_() for g in own) for own in gates_of(model, 0)]
    relative_cost(model, gates).sum().backward()
    slopes = [float(own[0].grad[0, 0]) for own in gates]
    assert slopes == pytest.approx([share / 2 for share in model.shares])  # half of the layer is saved
    assert all(not own[0].grad[0, 1:].any() for own in gates)  # once open, smaller branches cost nothing


@pytest.mark.slow
def test_both_phases_learn_and_gates_can_close(motions):
    torch.manual_seed(0)
    model = build("tiny", "two").train()
    curriculum = Curriculum(model, motions, price=5.0)
    learn, save, settle = curriculum.stages()
    assert (learn.name, save.name, settle.name) == ("learn", "save", "settle")
    assert set(learn.loss().parts) == {"right"}
    optimiser = torch.optim.Adam(model.gates.parameters(), 0.05)
    costs = []
    for _ in range(6):
        loss = save.loss()
        optimiser.zero_grad()
        # Every clip counts here, as if it were named right: an untrained network names few so.
        (loss.total + 5.0 * loss.parts["cost"]).backward()
        optimiser.step()
        costs.append(float(loss.parts["cost"].detach()))
    assert costs[-1] < 0.9 * costs[0]


@pytest.mark.slow
def test_open_gates_of_all_frames_cost_what_stands_still(motions):
    torch.manual_seed(0)
    model = build("tiny", "two").train()
    assert all_frames(model, gates_of(model, 0)).item() == 3.0  # six gates, half open
    assert all_frames(model, gates_of(model, 1)).item() == 0.0
    curriculum = Curriculum(model, motions, price=1.0)
    optimiser = torch.optim.Adam(model.gates.parameters(), 0.05)
    still = []
    for _ in range(8):
        repeated = curriculum.settle().parts["repeated"]
        optimiser.zero_grad()
        repeated.backward()
        optimiser.step()
        still.append(float(repeated.detach()))
    assert still[-1] < 0.5 * still[0]
    assert not model.training  # norms keep what they are


def test_the_plain_network_is_trained_by_labels_alone(motions):
    curriculum = Curriculum(build("tiny", "static").train(), motions, price=1.0)
    (learn,) = curriculum.stages()
    assert torch.isfinite(learn.loss().total)


@pytest.mark.parametrize("variant", ["two", "static"])
def test_scores_say_what_every_motion_costs(motions, variant):
    clip = motions._stretches[0].clip
    score = evaluate(build("tiny", variant), clip, whole=True, most=12)
    assert 0.25 <= score.cost <= 1 and len(score.cost_by_motion) == 6
    assert all(sum(shares) == pytest.approx(1.0) for shares in score.branches.values())


def test_the_weights_that_come_with_it_spend_less_on_what_stands_still(motions):
    model = build("tiny", "two")
    load_weights(model, pretrained("tiny", "two"))
    cost = evaluate(model, motions._stretches[0].clip, whole=True, most=36).cost_by_motion
    assert cost.pop("still") < min(cost.values())


def test_a_network_of_pictures_is_not_trained_with_motions():
    order = Order("pspnet", "two", lambda size: None, np.random.default_rng(0), {})
    with pytest.raises(TrainError, match="pspnet reads single pictures"):
        begin(order)


def test_clips_that_stand_still_are_all_alike_and_other_light_keeps_them_so():
    torch.manual_seed(0)
    still, moving = torch.rand(1, 1, 3, 8, 8).expand(1, 4, 3, 8, 8), torch.rand(1, 4, 3, 8, 8)
    found = likeness(torch.cat((still, moving)))
    assert found[0] == 1 and found[1] < 1e-4
    other = recoloured(torch.cat((still, moving)))
    assert (
        likeness(other)[0] == 1 and not torch.equal(other[:1], still) and 0 <= other.min() <= other.max() <= 1
    )


def test_a_network_that_a_static_one_teaches_is_drawn_to_it_and_learns_slowly_what_it_knows(motions):
    torch.manual_seed(0)
    model, teacher = build("tiny", "two").train(), build("tiny", "static")
    curriculum = Curriculum(model, motions, price=0.0, teacher=teacher)
    _, save, _ = curriculum.stages()
    before = [parameter.clone() for parameter in teacher.parameters()]
    loss = save.loss()
    parts = {name: float(part.detach()) for name, part in loss.parts.items()}
    assert float(loss.total.detach()) == pytest.approx(parts["labels"] + parts["taught"], rel=1e-5)
    loss.total.backward()
    assert all(
        torch.equal(a, b) and b.grad is None for a, b in zip(before, teacher.parameters(), strict=True)
    )
    slow = {id(parameter) for module in save.slower for parameter in module.parameters()}
    assert id(model.layers[0].conv.weight) in slow and id(model.gates[0].enter.weight) not in slow
    assert not Curriculum(model, motions, price=0.0).stages()[1].slower
