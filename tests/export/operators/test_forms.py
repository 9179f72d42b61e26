"""Operators in their forms, by both libraries against torch, at odd sizes and at free ones; settings at random."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from operator_outcomes import REFUSED, RIGHT, Segment, outcomes

from edgeflow.export.forms import FORMS, with_forms

aten = torch.ops.aten
torch.manual_seed(0)
X = torch.randn(2, 3, 13, 18)
KERNEL, BIAS = torch.randn(3, 4, 3, 3), torch.randn(4)
PLACES = torch.tensor([0, 2, 2]).view(1, 3, 1, 1)
INDICES = torch.tensor([0, 1, 2, 1, 0])


def few(x: torch.Tensor) -> torch.Tensor:
    """Values many of which are equal."""
    return x.round()


def sampled(mode: str, padding: str, corners: bool, x: torch.Tensor) -> torch.Tensor:
    """A volume at places inside and outside of it."""
    places = torch.stack([x[:, :, i : i + 9] for i in range(3)], -1) * 0.8
    return F.grid_sample(x[:, None], places, mode=mode, padding_mode=padding, align_corners=corners)


CASES: dict[str, dict[str, Callable[[torch.Tensor], Any]]] = {
    "pooling": {
        "a divisor": lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=5),
        "counted padding": lambda x: F.avg_pool2d(x, 3, 3, 1, ceil_mode=True),
        "padding not counted": lambda x: F.avg_pool2d(x, (3, 4), (2, 3), (1, 2), True, False),
        "average of one dimension": lambda x: F.avg_pool1d(x[0], 4, 3, 2, ceil_mode=True),
        "average of three": lambda x: F.avg_pool3d(x, 2, 3, 1, ceil_mode=True),
        "maximum": lambda x: F.max_pool2d(x, 3, 3, 1, ceil_mode=True),
        "dilated maximum": lambda x: F.max_pool2d(x, 3, 2, 1, 2, ceil_mode=True),
        "places of maxima": lambda x: F.max_pool2d(x, 3, 4, 1, ceil_mode=True, return_indices=True),
        "adaptive mean": lambda x: F.adaptive_avg_pool2d(x, (5, 7)),
        "adaptive mean of a volume": lambda x: F.adaptive_avg_pool3d(x, (3, 4, 9)),
        "adaptive maximum": lambda x: F.adaptive_max_pool2d(x, (5, 20), return_indices=True),
        "adaptive maximum of equals": lambda x: F.adaptive_max_pool1d(few(x[0]), 7, return_indices=True),
    },
    "padding and resizing": {
        "around": lambda x: F.pad(x, (2, 3, 1, 4), mode="circular"),
        "around, less than nothing": lambda x: F.pad(x, (-2, 3, 1, -4), mode="circular"),
        "edges, less than nothing": lambda x: F.pad(x, (-2, 3, 1, -4), mode="replicate"),
        "mirrored, less than nothing": lambda x: F.pad(x, (-2, 3, 1, -4), mode="reflect"),
        "linear": lambda x: F.interpolate(x, (5, 40), mode="bilinear", antialias=True),
        "cubic": lambda x: F.interpolate(x, (5, 7), mode="bicubic", antialias=True),
        "corners": lambda x: F.interpolate(x, (5, 40), mode="bicubic", antialias=True, align_corners=True),
        "a factor": lambda x: F.interpolate(x, scale_factor=(0.3, 1.7), mode="bilinear", antialias=True),
        "transposed, dilated": lambda x: F.conv_transpose2d(x, KERNEL, None, 1, 3, 1, 1, 2),
        "transposed, much at the end": lambda x: F.conv_transpose2d(x, KERNEL, BIAS, 2, 1, 2, 1, 3),
    },
    "volumes": {
        f"sampled, {mode}, {padding}{', corners' * corners}": partial(sampled, mode, padding, corners)
        for mode, padding, corners in (
            ("bilinear", "zeros", True),
            ("bilinear", "border", False),
            ("bilinear", "reflection", True),
            ("bilinear", "reflection", False),
            ("nearest", "zeros", False),
        )
    },
    "orders": {
        "sort": lambda x: x.sort(2, descending=True),
        "stable sort": lambda x: few(x).sort(dim=3, stable=True, descending=True),
        "argsort": lambda x: x.argsort(2),
        "stable argsort": lambda x: few(x).argsort(stable=True, dim=2),
        "k-th": lambda x: x.kthvalue(3, 1),
        "median": lambda x: (x.median(), *x.median(3, keepdim=True)),
        "maximum so far": lambda x: few(x).cummax(2),
        "minimum so far": lambda x: few(x).cummin(-1),
        "product so far": lambda x: x.cumprod(2),
        "least and greatest of all": lambda x: (x.amin(), x.amax(keepdim=True), *x.aminmax()),
    },
    "the rest": {
        "hypot": lambda x: torch.hypot(x, x.flip(0)),
        "fmax": lambda x: torch.fmax(x.sqrt(), x.flip(0).sqrt()),
        "fmin": lambda x: torch.fmin(x.sqrt(), x.flip(0).sqrt()),
        "attention without heads": lambda x: F.scaled_dot_product_attention(x[0], x[0], x[1]),
        "causal attention": lambda x: F.scaled_dot_product_attention(
            x[0, 0], x[0, 0], x[1, 0], is_causal=True
        ),
        "statistics of the batch": lambda x: F.batch_norm(
            x, torch.zeros(3), torch.ones(3), BIAS[:3], BIAS[1:], training=True
        ),
        "scattered mean": lambda x: torch.zeros_like(x).scatter_reduce(
            1, PLACES.expand_as(x), x, "mean", include_self=False
        ),
        "scattered mean with what was there": lambda x: x.scatter_reduce(1, PLACES.expand_as(x), x, "mean"),
        "scattered": lambda x: torch.zeros_like(x).scatter(1, PLACES[:, :2].expand(2, 2, 13, 18), x),
        "one value scattered": lambda x: x.scatter(1, PLACES[:, :2].expand(2, 2, 13, 18), 0.5),
        "mean of bags": lambda x: F.embedding_bag(INDICES, x[0, 0], torch.tensor([0, 2, 2]), mode="mean"),
        "maximum of bags": lambda x: F.embedding_bag(INDICES, x[0, 0], torch.tensor([0, 3]), mode="max"),
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("group", CASES)
def test_both_libraries_compute_the_forms(group):
    def all_of_them(x):
        made = [case(x) for case in CASES[group].values()]
        return [y for each in made for y in (each if isinstance(each, tuple) else (each,))]

    for library, outcome in outcomes(Segment(all_of_them), [X]).items():
        assert outcome.kind == RIGHT, f"{library}: {outcome.why}"


FREE = {
    "pooling": lambda x: (
        F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
        *F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True),
        F.adaptive_avg_pool2d(x, (8, 8)),
        *F.adaptive_max_pool2d(x, (8, 5), return_indices=True),
    ),
    "the rest": lambda x: (  # torch's capture refuses padding beside pooling in ceil mode, with forms or without
        F.pad(x, (2, 3, 1, 4), mode="circular"),
        F.pad(x, (-2, 3, 1, -4), mode="replicate"),
        F.interpolate(x, (32, 24), mode="bilinear", antialias=True),
        F.interpolate(x, scale_factor=0.3, mode="bicubic", antialias=True),
        F.conv_transpose2d(x, KERNEL, None, 1, 3, 1, 1, 2),
        x.median(3)[0],
        x - x.amin(),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("group", FREE)
def test_forms_leave_free_sizes_free(group):
    dims = {2: torch.export.Dim("height", min=2, max=16384), 3: torch.export.Dim("width", min=2, max=16384)}
    others = [[torch.randn(1, 3, h, w)] for h, w in ((67, 131), (64, 200), (75, 75))]
    for library, outcome in outcomes(
        Segment(FREE[group]), [torch.randn(1, 3, 96, 160)], [dims], others
    ).items():
        assert outcome.kind == RIGHT, f"{library}: {outcome.why}"


sides, some = st.integers(1, 12), st.integers(1, 4)


@settings(max_examples=100)
@given(size=sides, kernel=some, stride=some, pad=st.integers(0, 2), counted=st.booleans(), ceil=st.booleans())
def test_averages_of_any_windows(size, kernel, stride, pad, counted, ceil):
    assume(pad <= kernel // 2 and size + 2 * pad >= kernel)
    x = torch.randn(1, 2, size, 9)
    for divisor in (None, 3):
        arguments = ([kernel, 3], [stride, 2], [pad, 1], ceil, counted, divisor)
        made = FORMS[aten.avg_pool2d.default](x, *arguments)
        if made is not NotImplemented:
            assert torch.allclose(made, aten.avg_pool2d.default(x, *arguments), atol=1e-5)


@settings(max_examples=100)
@given(size=sides, kernel=some, stride=some, pad=st.integers(0, 2), dilation=st.integers(1, 3))
def test_maxima_of_any_windows(size, kernel, stride, pad, dilation):
    assume(pad <= kernel // 2 and size + 2 * pad >= dilation * (kernel - 1) + 1)
    x = torch.randn(1, 2, size, 11)
    arguments = ([kernel, 3], [stride, 2], [pad, 1], [dilation, 2], True)
    made, places = FORMS[aten.max_pool2d_with_indices.default](x, *arguments)
    wanted, there = aten.max_pool2d_with_indices.default(x, *arguments)
    seen = wanted.isfinite()  # a window whose taps all lie in the padding has no place
    assert torch.equal(made, wanted) and torch.equal(places[seen], there[seen])


@settings(max_examples=100)
@given(size=sides, out=sides)
def test_adaptive_windows_of_any_sizes(size, out):
    x = torch.randn(1, 2, size, 7)
    made = FORMS[aten.adaptive_avg_pool2d.default](x, [out, 3])
    assert torch.allclose(made, F.adaptive_avg_pool2d(x, (out, 3)), atol=1e-5)
    made, places = FORMS[aten.adaptive_max_pool2d.default](x, [out, 3])
    wanted, there = F.adaptive_max_pool2d(x, (out, 3), return_indices=True)
    assert torch.equal(made, wanted) and torch.equal(places, there)


@settings(max_examples=100)
@given(size=st.integers(2, 40), out=st.integers(1, 40), mode=st.sampled_from(["bilinear", "bicubic"]))
def test_resizing_to_any_size(size, out, mode):
    x = torch.randn(1, 2, size, 9)
    made = FORMS[getattr(aten, f"_upsample_{mode}2d_aa").default](x, [out, 5], False)
    wanted = F.interpolate(x, (out, 5), mode=mode, antialias=True)
    assert torch.allclose(made, wanted, atol=1e-4)


@settings(max_examples=100)
@given(
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    pad=st.integers(0, 5),
    end=st.integers(0, 2),
    groups=st.sampled_from([1, 3]),
)
def test_transposed_convolutions_of_any_settings(stride, dilation, pad, end, groups):
    assume(end < max(stride, dilation))
    arguments = (KERNEL, BIAS.repeat(groups), [stride], [pad], [end], groups, [dilation])
    made = FORMS[aten.conv_transpose2d.input](X, *arguments)
    if made is not NotImplemented:
        assert torch.allclose(made, aten.conv_transpose2d.input(X, *arguments), atol=1e-4)


def test_what_stays_as_it_is_costs_nothing():
    def plain(x):
        return F.adaptive_avg_pool2d(F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 2), 1)

    program = torch.export.export(Segment(plain), (X,), strict=False)
    assert with_forms(program) is program


@pytest.mark.parametrize(
    ("function", "dims", "message"),
    [
        (
            lambda x: x.cumprod(2),
            {2: torch.export.Dim("height", min=2, max=16384)},
            "segment: cannot be exported: cumprod along a dimension of free size has no ONNX form: give the",
        ),
        (
            lambda x: x[:, :0],
            {},
            "segment: makes a value of shape (2, 0, 13, 18), without elements: leave it out",
        ),
        (
            lambda x: F.cross_entropy(x, x.softmax(1)),
            {},
            "cross_entropy of probabilities has no ONNX form: write",
        ),
        (
            lambda x: x.mode(1)[0],
            {},
            "the operator aten.mode has no ONNX form; rewrite it in standard operators",
        ),
    ],
)
def test_what_has_no_form_is_refused_in_words(function, dims, message):
    for outcome in outcomes(Segment(function), [X], [dims]).values():
        assert outcome.kind == REFUSED and message in outcome.why


def test_a_segment_that_hands_on_its_input_is_right():
    for outcome in outcomes(Segment(lambda x: (x.relu(), x, x)), [X]).values():
        assert outcome.kind == RIGHT
