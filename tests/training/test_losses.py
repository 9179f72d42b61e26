from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from edgeflow.training.losses import endpoint, errors, lean_to, mismatch, over_exits, psnr, random_flow


def test_psnr_is_of_the_clamped_picture():
    target = torch.zeros(1, 3, 8, 8)
    assert psnr(target + 0.1, target) == pytest.approx(20)
    assert psnr(target - 3, target) == pytest.approx(100)


def test_every_picture_is_asked_for_the_same_relative_gain():
    target = torch.zeros(2, 3, 8, 8)
    wrong = target + torch.tensor([0.5, 0.1]).reshape(2, 1, 1, 1)
    gained = errors(wrong, target) - errors(wrong * 0.5, target)
    assert gained.tolist() == pytest.approx([math.log(4), math.log(4)], abs=0.04)
    assert float(errors(target + 0.001, target).max()) < 0.01


def test_all_exits_count_alike():
    target = torch.zeros(1, 3, 8, 8)
    wrong = target + 0.5
    one = float(errors(wrong, target)) / 3
    assert [float(over_exits(p, target)) for p in ([wrong, target, target], [target, target, wrong])] == (
        pytest.approx([one, one])
    )


def test_a_true_flow_has_no_end_point_error_and_a_cost_volume_that_shows_it_matches():
    torch.manual_seed(0)
    features = torch.randn(1, 64, 12, 16)
    moved = torch.roll(features, (1, -2), (2, 3))  # what was at (y, x) is now at (y + 1, x - 2)
    truth = torch.tensor([-2.0, 1.0]).reshape(1, 2, 1, 1).expand(1, 2, 96, 128) * 8
    assert endpoint(truth[..., ::8, ::8], truth) == 0
    right = mismatch(features, moved, truth, 3)
    assert right < mismatch(features, moved, -truth, 3) / 3


def test_made_up_flows_differ_in_reach_and_some_stay_still():
    torch.manual_seed(0)
    reach = random_flow(torch.zeros(64, 3, 96, 96)).abs().amax((1, 2, 3))
    assert (reach == 0).any() and (reach > 10).any() and reach.max() < 200


def test_a_choice_net_leans_to_what_was_best():
    losses = torch.tensor([[0.01, 0.02, 0.03]])
    right, wrong = torch.tensor([[5.0, 0, 0]]), torch.tensor([[0, 0, 5.0]])
    assert lean_to(right, losses, 1e-3) < lean_to(wrong, losses, 1e-3)
    flat = lean_to(torch.zeros(1, 3), torch.zeros(1, 3), 1e-3)
    assert float(flat) == pytest.approx(np.log(3), rel=1e-5)
