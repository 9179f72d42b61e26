"""Joins models of which one runs at a time into one: what they need at run time, they then share.

OpenVINO gives every compiled model memory of its own for tensors between layers, and a copy of its weights in the
layout of its kernels. Models that are branches of one model's `If` operators share both; a branch runs as
fast as the model alone but for copies of what goes in and out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov
from openvino import op, opset8
from openvino.passes import ConstantFolding, Manager

SHARED_BYTES = 1024
"""Smaller constants are not worth sharing."""


@dataclass(frozen=True)
class Joined:
    """One model that runs the one of several whose number it is given.

    Attributes:
        model: its last input is the number, an int32 scalar; its outputs are theirs.
        places: per model, which of the inputs are its own, in its order.
    """

    model: ov.Model
    places: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Branch:
    """A model, and which inputs of the joined one its own are."""

    model: ov.Model
    places: tuple[int, ...]


def join(models: Sequence[ov.Model], apart: bool = False) -> Joined:
    """Join models with equal outputs; inputs of equal shape and type become one.

    Args:
        models: of static shapes. They become part of the result.
        apart: constants stay those that were read from a file, which is where an exported model finds them again.
    """
    if not apart:  # before folding, which makes constants of the same names with other contents
        share_constants(models)
    for model in models:  # compiling walks over each node many times, and branches are not folded before
        folding = Manager()
        folding.register_pass(ConstantFolding())
        folding.run_passes(model)
    slots: dict[tuple[str, int], int] = {}
    places = []
    for model in models:
        seen: Counter[str] = Counter()
        own = []
        for given in model.get_parameters():
            kind = f"{given.get_element_type()} {given.get_partial_shape()}"
            own.append(slots.setdefault((kind, seen[kind]), len(slots)))
            seen[kind] += 1
        places.append(tuple(own))
    branches = [_Branch(model, own) for model, own in zip(models, places, strict=True)]
    return Joined(_choose(branches, 0, len(slots)).model, tuple(places))


def share_constants(models: Sequence[ov.Model]) -> None:
    """Let equal constants of one name lie in the same memory: OpenVINO then lays them out for its kernels once."""
    known: dict[str, op.Constant] = {}
    constants = (node for model in models for node in model.get_ops() if node.get_type_name() == "Constant")
    for constant in constants:
        if constant.get_byte_size() < SHARED_BYTES:
            continue
        first = known.setdefault(constant.get_friendly_name(), constant)
        if first is not constant and np.array_equal(first.data, constant.data):
            same = op.Constant(first.get_tensor_view(), shared_memory=True)
            same.set_friendly_name(constant.get_friendly_name())
            for reader in list(constant.output(0).get_target_inputs()):
                reader.replace_source_output(same.output(0))


def _choose(branches: Sequence[_Branch], first: int, number: int) -> _Branch:
    """A tree of `If` over models that are numbered from `first` on; the number itself is the input `number`."""
    if len(branches) == 1:
        return branches[0]
    half = len(branches) // 2
    halves = [_choose(branches[:half], first, number), _choose(branches[half:], first + half, number)]
    given = [dict(zip(own.places, own.model.get_parameters(), strict=True)) for own in halves]
    inputs = {number: opset8.parameter([], np.int32)}
    for own in given:
        for place, inner in own.items():
            if place not in inputs:
                inputs[place] = opset8.parameter(inner.get_partial_shape(), inner.get_element_type())
    chosen = opset8.if_op(opset8.less(inputs[number], opset8.constant(np.int32(first + half))).output(0))
    chosen.set_then_body(halves[0].model)
    chosen.set_else_body(halves[1].model)
    for place, outer in inputs.items():
        ends = [own.get(place) for own in given]
        if any(end is not None for end in ends):
            chosen.set_input(outer.output(0), *ends)
    results = zip(*(own.model.get_results() for own in halves), strict=True)
    made = [opset8.result(chosen.set_output(*pair)) for pair in results]
    places = tuple(sorted(inputs))
    return _Branch(ov.Model(made, [inputs[place] for place in places], "joined"), places)
