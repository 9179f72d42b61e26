"""The report on what TensorRT lacks."""

from __future__ import annotations

import pytest

from edgeflow.targets import load
from edgeflow.targets.tensorrt_support import Operator, support

CONV = Operator("Conv")


def gaps(*operators, target="desktop-gpu"):
    return support({"a": [CONV, *operators]}, load(target)).gaps


def test_what_every_release_has_leaves_no_gap():
    report = support({"a": [CONV, Operator("Relu")], "b": [CONV]}, load("jetson-orin"))
    assert report.complete and not report.gaps and report.operators == {"Conv": 2, "Relu": 1}
    assert report.versions == ("10.3", "10.16", "11.4")


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


def test_a_gap_concerns_only_the_releases_that_have_it():
    (race,) = [gap for gap in gaps(Operator("DeformConv")) if "race" in gap.reason]
    assert race.versions == ("10.3",)
    (swish,) = gaps(Operator("Swish"))
    assert "11.1" not in swish.versions and "10.16" in swish.versions


def test_square_attributes_of_deform_conv_are_no_trap():
    found = gaps(Operator("DeformConv", attributes=(("dilations", (2, 2)), ("strides", (2, 2)))))
    assert not [gap for gap in found if "swaps" in gap.reason]
