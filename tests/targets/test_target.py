from __future__ import annotations

import pytest

from edgeflow.ir.errors import ExportError, TargetError
from edgeflow.targets import load

MINE = """
name = "mine"
description = "a test"
library = "onnxruntime"
versions = ["1.23"]
precision = "fp32"
precisions = ["fp32", "int8"]
batches = [1, 2]
rewrites = ["polyphase-resize"]
memory_gb = 2
[roofline]
gflops = 100
gbytes = 10
launch_ms = 0.1
"""


@pytest.mark.parametrize(
    ("name", "precisions"), [("cpu", ("fp32", "int8")), ("openvino-cpu", ("fp32", "bf16", "int8"))]
)
def test_a_target_is_made_at_each_of_its_precisions(name, precisions):
    target = load(name)
    assert target.precision == "fp32" and target.precisions == precisions
    for precision in precisions:
        assert target.at(precision).to_json() == {**target.to_json(), "precision": precision}


@pytest.mark.parametrize(("name", "precision"), [("cpu", "bf16"), ("cpu", "fp16"), ("openvino-cpu", "int4")])
def test_other_precisions_are_refused_with_those_there_are(name, precision):
    known = ", ".join(load(name).precisions)
    with pytest.raises(
        ExportError, match=f"target {name} has no precision '{precision}': use one of {known}"
    ):
        load(name).at(precision)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('precisions = ["fp32", "int8"]', 'precisions = ["fp32", "int3"]', "precisions are some of"),
        ('precisions = ["fp32", "int8"]', "precisions = []", "precisions are some of"),
        ('precisions = ["fp32", "int8"]', "", "missing or unknown fields"),
        ('precision = "fp32"', 'precision = "bf16"', "'bf16' is not one of"),
        ("memory_gb = 2", "memory_gb = 0", "memory_gb is a positive number"),
        ('["polyphase-resize"]', '"all"', "rewrites are a list of names"),
        ("launch_ms = 0.1", 'launch_ms = 0.1\n[since]\nfp16 = "10.6"', "since names first releases"),
        ("gflops = 100", "gflops = -1", r"values of \[roofline\] are positive"),
        ("gflops = 100", "", r"\[roofline\] has gbytes, gflops, launch_ms"),
    ],
)
def test_a_description_that_misstates_something(tmp_path, old, new, message):
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    assert load(str(path)).precisions == ("fp32", "int8")
    path.write_text(MINE.replace(old, new, 1))
    with pytest.raises(TargetError, match=message):
        load(str(path))
