"""The report on what TensorRT lacks."""

from __future__ import annotations

import pytest

from edgeflow.export.precision.half import BF16_OPSET
from edgeflow.targets import load, names
from edgeflow.targets.target import numbers
from edgeflow.targets.tensorrt_support import Operator, newest_opset, support

CONV = Operator("Conv")


def gaps(*operators, target="desktop-gpu"):
    return support({"a": [CONV, *operators]}, load(target)).gaps


def test_what_every_release_has_leaves_no_gap():
    report = support({"a": [CONV, Operator("Relu")], "b": [CONV]}, load("jetson-orin"))
    assert report.complete and not report.gaps and report.operators == {"Conv": 2, "Relu": 1}
    assert report.versions == ("10.3", "10.7", "10.16", "11.4")


@pytest.mark.parametrize(
    ("operator", "fatal", "reason"),
    [
        (Operator("Unique"), True, "is not imported"),
        (Operator("Mystery"), True, "is not imported"),
        (Operator("Thing", domain="com.example"), True, "comes from the domain com.example"),
        (Operator("Transpose", bytes=True), True, "works on uint8"),
        (Operator("GridSample", opset=20), True, "is read as `nearest` from opset 20 on"),
        (Operator("GridSample", ranks=(5, 5)), True, "not volumes"),
        (Operator("Resize", attributes=(("antialias", 1),)), True, "refused with antialias"),
        (Operator("DeformConv", attributes=(("strides", (1, 2)),)), True, "swaps height and width"),
        (Operator("QuantizeLinear", attributes=(("zero_point", True),)), True, "quantises symmetrically"),
        (Operator("EdgeflowAdaBD", domain="edgeflow"), False, "is edgeflow's plugin"),
    ],
)
def test_a_gap_names_operator_engine_releases_and_what_to_do(operator, fatal, reason):
    (gap,) = [gap for gap in gaps(operator) if reason in gap.reason]
    assert (gap.operator, gap.graphs, gap.fatal) == (operator.type, ("a",), fatal)
    assert gap.advice and set(gap.versions) <= set(load("desktop-gpu").versions)


def test_an_opset_that_a_release_does_not_list_is_one_gap_of_the_whole_graph():
    graphs = {"a": [Operator("Conv", opset=22), Operator("Relu", opset=22)], "b": [Operator("Conv")]}
    (gap,) = support(graphs, load("desktop-gpu")).gaps
    assert (gap.operator, gap.graphs, gap.versions, gap.fatal) == ("opset 22", ("a",), ("10.3",), True)
    assert "ends at 20" in gap.reason and "TensorRT 10.6 or later" in gap.advice


@pytest.mark.parametrize(
    ("version", "newest"), [("10.3", 20), ("10.5.1", 20), ("10.6", 22), ("10.13.3", 22), ("11.4", 24)]
)
def test_the_newest_opset_of_a_release(version, newest):
    assert newest_opset(version) == newest


@pytest.mark.parametrize("name", [name for name in names() if load(name).library == "tensorrt"])
def test_targets_take_bfloat16_where_its_opset_is_listed(name):
    target = load(name)
    first = numbers(target.since["bf16"])
    for version in target.versions:
        assert (newest_opset(version) >= BF16_OPSET) == (numbers(version) >= first)


def test_bfloat16_is_a_gap_where_an_operator_does_not_take_it():
    assert not gaps(Operator("Conv", bfloat16=True))
    (gap,) = gaps(Operator("Mish", bfloat16=True))
    assert gap.fatal and gap.reason == "does not take bfloat16"


def test_a_gap_concerns_only_the_releases_that_have_it():
    (race,) = [gap for gap in gaps(Operator("DeformConv")) if "race" in gap.reason]
    assert race.versions == ("10.3",)
    (swish,) = gaps(Operator("Swish"))
    assert "11.1" not in swish.versions and "10.16" in swish.versions


def test_square_attributes_of_deform_conv_are_no_trap():
    found = gaps(Operator("DeformConv", attributes=(("dilations", (2, 2)), ("strides", (2, 2)))))
    assert not [gap for gap in found if "swaps" in gap.reason]
