"""Operators where formulas break: along axes, at zeros with signs, far from zero, at ties and exact multiples; against torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from operator_outcomes import LIBRARIES, REFUSED, RIGHT, Segment, outcomes

VALUES = torch.tensor(
    [-0.0, 0.0, -1, 1, -2.5, 2.5, 0.5, -0.5, 1.5, -3, 3, 1e-9, -1e-9, 1e-20, 90, -90, 7.25, 0.1, -0.1]
)
ONE, OTHER = (grid.clone() for grid in torch.meshgrid(VALUES, VALUES, indexing="ij"))
ROW = torch.tensor([[1.0, 3, 3, 2, 3], [0, 0, -0.0, 0, 0], [2, 1, 2, 1, 2], [-1, -1, -2, -2, -1]])

BOTH = {
    "atan2": torch.atan2,
    "signbit": lambda x, y: torch.signbit(x) ^ torch.signbit(y),
    "isclose": torch.isclose,
    "logaddexp": torch.logaddexp,
    "logaddexp2": torch.logaddexp2,
    "logsigmoid": lambda x, y: F.logsigmoid(x + y),
    "logsumexp of nothing but zeros": lambda x, y: torch.full_like(x, -torch.inf).logsumexp(1),
    "softmax of a row that is masked but for one": lambda x, y: (
        x.masked_fill(y < 50, -torch.inf).softmax(1).nan_to_num(-1.0)
    ),
    "a small epsilon": lambda x, y: x.clamp(-1, 1) / (y.abs() * 0 + 1e-8),
    "a smaller one": lambda x, y: x.clamp(-1, 1) / (1e-12 + y.abs() * 0),
    "a small epsilon taken away": lambda x, y: (x * 0 - 1e-9).sign(),
    "nearly one": lambda x, y: (x * 1.000005 - x).sign(),
    "remainder by a power of two": lambda x, y: x % 0.25,
    "floor division by a power of two": lambda x, y: x // -2.0,
    "rounding": lambda x, y: torch.stack((x.round(), x.floor(), x.ceil(), x.trunc(), x.sign(), x.frac())),
    "powers": lambda x, y: torch.stack((x**2, x**3, x.abs() ** 0.5, x**0)),
    "xlogy": lambda x, y: torch.xlogy(x, y.abs() + 1e-3),
    "heaviside": torch.heaviside,
    "norms of zeros": lambda x, y: F.normalize(x * 0, dim=1) + F.cosine_similarity(x * 0, y, dim=1)[:, None],
}
BY_ONNXRUNTIME = {
    "remainder": lambda x, y: torch.remainder(x, y.where(y.abs() > 1e-3, 1.0)),
    "fmod": lambda x, y: torch.fmod(x, y.where(y.abs() > 1e-3, 1.0)),
    "floor division": lambda x, y: torch.floor_divide(x, y.where(y.abs() > 1e-3, 1.0)),
    "division rounded down": lambda x, y: torch.div(x, 0.1, rounding_mode="floor"),
}
TIES = {
    "places of extremes": lambda x: (x.argmax(1), x.argmin(1), *x.max(1), *x.min(1)),
    "cumulative": lambda x: (*x.cummax(1), x.cumprod(1), x.logcumsumexp(1)),
    "sorted": lambda x: (*x.sort(dim=1, stable=True), x.median(1)[0], x.kthvalue(2, 1)[0], x.topk(3, 1)[0]),
    "spread": lambda x: (x.std(1), x.var(1, correction=0), x.norm(p=0, dim=1), x.norm(p=torch.inf, dim=1)),
    "buckets": lambda x: (
        torch.bucketize(x, torch.tensor([-1.0, 0, 1, 2, 3])),
        torch.bucketize(x, torch.tensor([-1.0, 0, 1, 2, 3]), right=True),
    ),
}


def right(function, tensors, libraries=LIBRARIES):
    for library, outcome in outcomes(Segment(function), tensors, libraries=libraries).items():
        assert outcome.kind == RIGHT, f"{library}: {outcome.why}"


@pytest.mark.slow
@pytest.mark.parametrize("name", BOTH)
def test_values_at_which_formulas_break(name):
    right(BOTH[name], [ONE, OTHER])


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_ONNXRUNTIME)
def test_exact_multiples(name):
    """OpenVINO's remainder of floats is that of a rounded quotient (docs/limits.md)."""
    right(BY_ONNXRUNTIME[name], [ONE, OTHER], ("onnxruntime",))


@pytest.mark.slow
@pytest.mark.parametrize("name", TIES)
def test_ties(name):
    right(TIES[name], [ROW])


@pytest.mark.parametrize("function", [torch.special.log_ndtr, torch.special.erfcx])
def test_functions_without_a_form_that_holds_are_refused(function):
    for outcome in outcomes(Segment(function), [VALUES]).values():
        assert outcome.kind == REFUSED and "no form that holds" in outcome.why
