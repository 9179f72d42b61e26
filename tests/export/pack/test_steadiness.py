"""Segments that are no functions of their inputs are refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgeflow.export.pack.steadiness import check_steady
from edgeflow.ir.errors import ExportError

IMAGE = torch.rand(1, 3, 8, 8)


class Counting(nn.Module):
    """Fades in over its first calls, with a plain number."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.calls


class Remembering(nn.Module):
    def __init__(self, replaced):
        super().__init__()
        self.register_buffer("last", torch.zeros(1, 3, 8, 8))
        self.replaced = replaced

    def forward(self, x):
        if self.replaced:
            self.last = x.clone()
        else:
            self.last.copy_(x)
        return x + 1


@pytest.mark.parametrize(
    "run",
    [lambda x: F.dropout(x, 0.5), lambda x: x + torch.randn_like(x), Counting()],
    ids=["dropout", "noise", "count"],
)
def test_another_answer_to_the_same_question_is_refused(run):
    with pytest.raises(ExportError, match="segment part: makes something else of the same inputs each time"):
        check_steady(run, nn.Module(), [IMAGE], "segment part")


@pytest.mark.parametrize("replaced", [False, True])
def test_a_buffer_that_is_written_is_refused(replaced):
    part = Remembering(replaced)
    with pytest.raises(
        ExportError, match=r"segment part: changes its buffer last .* make it a state of the flow"
    ):
        check_steady(part, part, [IMAGE], "segment part")


def test_a_batch_norm_left_in_training_is_refused():
    part = nn.BatchNorm2d(3).train()
    with pytest.raises(ExportError, match=r"changes its buffer .* put a batch norm into eval mode"):
        check_steady(part, part, [IMAGE], "segment part")


def test_a_steady_segment_is_taken_and_may_write_on_its_own_input():
    given = IMAGE.clone()
    (made,) = check_steady(lambda x: x.add_(1), nn.BatchNorm2d(3).eval(), [given], "segment part")
    assert torch.equal(made, IMAGE + 1)
    assert torch.equal(given, IMAGE)  # what a golden vector is made of afterwards
