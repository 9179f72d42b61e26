"""The operators that the parity suite goes through: one entry in `OPERATORS` each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import loops
import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

from edgeflow.ops.adabd import AdaBD
from edgeflow.ops.adacof import AdaCoF
from edgeflow.ops.cost_volume import cost_volume
from edgeflow.ops.deform_conv import deform_conv2d
from edgeflow.ops.hetconv import HetConv
from edgeflow.ops.resize import bicubic
from edgeflow.ops.splat import softmax_splat, splat
from edgeflow.ops.upsample import HALFWAY, upsample8
from edgeflow.ops.warp import warp

KINDS = {
    "plain": lambda random, shape: random.uniform(-0.4, 0.4, shape) + 0.5,
    "random": lambda random, shape: random.normal(0, 2, shape),
    "border": lambda random, shape: random.integers(-6, 7, shape) / 2,
    "far": lambda random, shape: random.choice([-1e9, -1e4, -50, -9, 0.25, 9, 50, 1e4, 1e9], shape),
    "still": lambda random, shape: np.zeros(shape),
}
"""How offsets are drawn; `plain` stays clear of kinks, where there is no gradient."""


@dataclass(frozen=True)
class Case:
    """One configuration of an operator.

    Attributes:
        module: the operator on its inputs.
        loop: the same in numpy, float64.
        draw: its inputs, from random numbers, a kind of offsets, and a batch.
        kinds: of offsets that it has.
        standard: whether it also leaves without `DeformConv`.
        kernel: its native kernel's name and constants, if it has one.
    """

    module: nn.Module
    loop: Callable[..., Any]
    draw: Callable[[np.random.Generator, str, int], tuple[Any, ...]]
    kinds: tuple[str, ...] = ("plain",)
    standard: bool = False
    kernel: tuple[str, dict[str, Any]] | None = None


class Apply(nn.Module):
    """A function with settings as a module."""

    def __init__(self, function, **settings):
        super().__init__()
        self.function, self.settings = function, settings

    def forward(self, *inputs):
        return self.function(*inputs, **self.settings)


class Deformable(nn.Module):
    """`deform_conv2d` with weights of its own; the mask, if any, is its third input."""

    def __init__(self, weight, bias, **settings):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float32))
        self.bias = None if bias is None else nn.Parameter(torch.tensor(bias, dtype=torch.float32))
        self.settings = settings

    def forward(self, input, offset, mask=None):
        return deform_conv2d(input, offset, self.weight, self.bias, mask=mask, **self.settings)


def values(parameter):
    return None if parameter is None else parameter.detach().double().numpy()


def deform_case(
    size=(5, 7),
    channels=4,
    out=6,
    kernel=(3, 3),
    stride=(1, 1),
    padding=(1, 1),
    dilation=(1, 1),
    groups=1,
    offset_groups=1,
    bias=True,
    mask=True,
):
    random = np.random.default_rng(7)
    weight = random.normal(0, 0.3, (out, channels // groups, *kernel))
    settings = {"stride": stride, "padding": padding, "dilation": dilation}
    module = Deformable(weight, random.normal(0, 1, out) if bias else None, **settings)
    sides = [
        (s + 2 * p - d * (k - 1) - 1) // t + 1
        for s, p, d, k, t in zip(size, padding, dilation, kernel, stride, strict=True)
    ]
    taps = offset_groups * kernel[0] * kernel[1]

    def draw(random, kind, batch):
        image, offset = (
            random.random((batch, channels, *size)),
            KINDS[kind](random, (batch, 2 * taps, *sides)),
        )
        share = random.random((batch, taps, *sides)) * (kind != "still")
        return (image, offset, share) if mask else (image, offset)

    def loop(image, offset, share=None):
        sides = (stride, padding, dilation)
        return loops.deform_conv(image, offset, values(module.weight), values(module.bias), share, *sides)

    return Case(module, loop, draw, tuple(KINDS), standard=True)


def adabd_case(size=(5, 7), channels=4, out=6):
    torch.manual_seed(3)
    module = AdaBD(channels, nn.Parameter(torch.randn(out, channels, 3, 3) * 0.3))

    def draw(random, kind, batch):
        maps = random.random((2, batch, channels, *size))
        offset = KINDS[kind](random, (batch, 18, *size))
        return (*maps, offset, random.random((batch, 9, *size)) * (kind != "still"))

    def loop(*arrays):
        return loops.adabd(*arrays, values(module.weight))

    kernel = ("adabd", {"weight": module.weight.detach().numpy()})
    return Case(module, loop, draw, tuple(KINDS), standard=True, kernel=kernel)


def hetconv_case(size=(5, 6), channels=8, out=4, parts=4, folded=False):
    torch.manual_seed(2)
    module = HetConv(channels, out, parts)

    def loop(x):
        convs = ((module.grouped, parts, 1), (module.dense, 1, 0), (module.grouped_point, parts, 0))
        made = [loops.convolution(x, values(c.weight), values(c.bias), g, p) for c, g, p in convs]
        return made[0] + made[1] - made[2]

    return Case(module.folded() if folded else module, loop, images(channels, size))


def images(channels, size, count=1):
    return lambda random, kind, batch: tuple(random.random((count, batch, channels, *size)))


def cost_volume_case(radius=2, size=(4, 6), channels=3):
    module = Apply(cost_volume, radius=radius)
    return Case(module, lambda a, b: loops.cost_volume(a, b, radius), images(channels, size, 2))


def warp_case(size=(6, 7), channels=3):
    def draw(random, kind, batch):
        return random.random((batch, channels, *size)), KINDS[kind](random, (batch, 2, *size)) + 0.013

    return Case(Apply(warp), loops.warp, draw, ("plain", "random", "far"))


def bicubic_case(size=(5, 8), to=(7, 3)):
    module = Apply(bicubic, height=to[0], width=to[1])
    return Case(module, lambda x: loops.bicubic(x, *to), images(2, size))


def adacof_case(size=(5, 7), channels=3, side=5, dilation=1):
    def draw(random, kind, batch):
        taps = (batch, side**2, *size)
        signs = random.choice([-1, 1], taps)  # offsets are cut toward zero: on both sides of it
        image, weight = random.random((batch, channels, *size)), random.random(taps)
        return image, weight / side**2, signs * KINDS[kind](random, taps), KINDS[kind](random, taps)

    def loop(*arrays):
        return loops.adacof(*arrays, dilation)

    return Case(AdaCoF(dilation), loop, draw, tuple(KINDS), kernel=("adacof", {}) if dilation == 1 else None)


def splat_case(size=(5, 6), channels=3):
    def draw(random, kind, batch):
        return random.random((batch, channels, *size)), KINDS[kind](random, (batch, 2, *size))

    return Case(Apply(splat), loops.splat, draw, tuple(KINDS))


def softmax_splat_case(size=(5, 6), channels=3):
    def draw(random, kind, batch):
        metric = random.normal(0, 2, (batch, 1, *size))
        return random.random((batch, channels, *size)), KINDS[kind](random, (batch, 2, *size)), metric

    return Case(Apply(softmax_splat), loops.softmax_splat, draw, ("random", "still"))


def upsample8_of(image):
    return upsample8(image, HALFWAY.to(image).expand(image.shape[1], 1, 1, 8))


def upsample8_case(size=(5, 8)):
    return Case(Apply(upsample8_of), loops.upsample8, images(3, size))


OPERATORS: dict[str, tuple[Callable[[], Case], ...]] = {
    "deform_conv2d": (
        deform_case,
        lambda: deform_case((7, 4), bias=False, mask=False, padding=(0, 0)),
        lambda: deform_case((6, 9), stride=(2, 1), padding=(0, 2), dilation=(1, 2), groups=2),
        lambda: deform_case((5, 4), channels=8, kernel=(2, 3), offset_groups=4, groups=2, stride=(1, 2)),
        lambda: deform_case((1, 1), channels=2, out=1, offset_groups=2, bias=False),
        lambda: deform_case((8, 3), kernel=(1, 1), padding=(0, 0), dilation=(3, 3)),
    ),
    "adabd": (adabd_case, lambda: adabd_case((1, 5), 3, 2), lambda: adabd_case((2, 50), 17, 70)),
    "hetconv": (
        hetconv_case,
        lambda: hetconv_case(folded=True),
        lambda: hetconv_case((3, 4), 6, 6, parts=2, folded=True),
    ),
    "cost_volume": (
        cost_volume_case,
        lambda: cost_volume_case(3, (2, 2)),
        lambda: cost_volume_case(1),
        lambda: cost_volume_case(0, (3, 1), 1),
    ),
    "warp": (warp_case, lambda: warp_case((2, 9), 1)),
    "adacof": (adacof_case, lambda: adacof_case((2, 3), 2, 3, 2), lambda: adacof_case((1, 9), 4, 1)),
    "splat": (splat_case, lambda: splat_case((1, 4), 1)),
    "softmax_splat": (softmax_splat_case,),
    "upsample8": (upsample8_case,),
    "bicubic": (bicubic_case, lambda: bicubic_case((4, 5), (9, 13))),
}

sizes = st.tuples(st.integers(1, 6), st.integers(1, 6))
few = st.tuples(st.integers(1, 2), st.integers(1, 2))

DRAWN: dict[str, st.SearchStrategy[Case]] = {
    "deform_conv2d": st.builds(
        lambda groups, offset_groups, each, kernel, padding, **rest: deform_case(
            channels=groups * offset_groups * each,
            out=groups * each,
            groups=groups,
            offset_groups=offset_groups,
            kernel=kernel,
            padding=(padding[0] + kernel[0] - 1, padding[1] + kernel[1] - 1),  # so that something comes out
            **rest,
        ),
        groups=st.integers(1, 2),
        offset_groups=st.integers(1, 3),
        each=st.integers(1, 2),
        kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
        padding=few,
        size=sizes,
        stride=few,
        dilation=few,
        bias=st.booleans(),
        mask=st.booleans(),
    ),
    "adabd": st.builds(adabd_case, size=sizes, channels=st.integers(1, 4), out=st.integers(1, 4)),
    "hetconv": st.builds(
        lambda parts, ins, outs, **rest: hetconv_case(
            channels=parts * ins, out=parts * outs, parts=parts, **rest
        ),
        parts=st.integers(1, 3),
        ins=st.integers(1, 2),
        outs=st.integers(1, 2),
        size=sizes,
        folded=st.booleans(),
    ),
    "cost_volume": st.builds(cost_volume_case, st.integers(0, 3), sizes, st.integers(1, 3)),
    "warp": st.builds(warp_case, sizes, st.integers(1, 3)),
    "adacof": st.builds(
        adacof_case, sizes, st.integers(1, 4), st.sampled_from([1, 3, 5]), dilation=st.integers(1, 2)
    ),
    "splat": st.builds(splat_case, sizes, st.integers(1, 3)),
    "softmax_splat": st.builds(softmax_splat_case, sizes, st.integers(1, 3)),
    "upsample8": st.builds(upsample8_case, st.tuples(st.integers(5, 9), st.integers(5, 9))),
    "bicubic": st.builds(bicubic_case, sizes, sizes),
}
"""Configurations of each operator as hypothesis draws them."""
