import pytest
import torch
from routed_models import small
from torch import nn

from edgeflow.flow import Axis, Image, RoutedModule, Tensor, trace
from edgeflow.ir.errors import FlowError
from edgeflow.ir.program import Call, Keep, Sample, Stitch, Tile
from edgeflow.ir.route import ALWAYS
from edgeflow.models.cain_sd import build


@pytest.fixture(scope="module")
def program():
    return trace(build("tiny"))


def calls(program):
    return [operation for operation in program.operations if isinstance(operation, Call)]


def test_cain_sd_is_recorded_as_written(program):
    groups = [f"cain.groups.{i}" for i in range(5)]
    assert [call.segment for call in calls(program)] == ["sd_finder", "head", *groups, "tail"]
    assert [variable.name for variable in program.variables] == ["scale", "exit"]
    whens = [call.when for call in calls(program)[2:7]]
    for exit in range(1, 6):
        assert [when.holds({"exit": exit}) for when in whens] == [exit >= depth for depth in range(1, 6)]
    assert whens[0] == ALWAYS


def test_what_follows_the_head_has_one_shape_per_scale_without_being_told(program):
    for name in ("head.0", "cain.groups.0", "cain.groups.4"):
        shapes = dict(program.value(name).shapes)
        assert shapes == {(("scale", s),): (16, 64 // s // 8, 64 // s // 8) for s in (1, 2, 4)}
    assert program.value("tail").shapes == (((), (3, 64, 64)),)
    assert (
        program.value("tail").image and program.value("stitched").image and not program.value("head.0").image
    )


def test_frame_sizes_stay_free(program):
    assert program.frame == "landscape"
    assert program.value("frame0").shapes == (((), (3, "height", "width")),)
    assert program.value("stitched").shapes == (((), (3, "height", "width")),)
    assert trace(build("tiny"), portrait=True).frame == "portrait"


def test_a_given_size_is_fixed():
    program = trace(build("tiny"), {"height": 90, "width": 160})
    assert program.frame == "160x90"
    assert program.inputs[0] == Image("frame0", 90, 160)
    assert program.value("stitched").shapes == (((), (3, 90, 160)),)


def test_a_program_prints_one_line_per_operation(program):
    lines = str(program).splitlines()
    assert lines[0] == "program CAINSD" and len(lines) == 1 + len(program.operations)
    assert any("when exit in (3, 4, 5)" in line for line in lines)
    assert any("route tiles: scale=argmax(sd_finder.0), exit=argmax(sd_finder.1)" in line for line in lines)


@pytest.mark.parametrize(("variant", "axes"), [("S", ["scale"]), ("D", ["exit"])])
def test_variants_of_cain_sd_have_fewer_decisions(variant, axes):
    program = trace(build("tiny", variant))
    assert [v.name for v in program.variables] == axes
    assert len(program.value("head.0").shapes) == (3 if variant == "S" else 1)


def test_states_are_kept_where_the_condition_holds():
    program = trace(small("Shortcut"))
    keeps = [op for op in program.operations if isinstance(op, Keep)]
    assert [(k.state, k.input) for k in keeps] == [("state.a_ref", "encode"), ("state.f_ref", "shortcut")]
    for keep in keeps:
        assert keep.when.holds({"mode": "key"}) and not keep.when.holds({"mode": "shortcut"})
    assert {state.name: state.shape for state in program.states} == {
        "state.a_ref": (4, 8, 12),
        "state.f_ref": (4, 8, 12),
    }


def test_a_sampled_clip_has_one_shape_per_length():
    program = trace(small("Frames"))
    assert program.frame == "any"
    assert dict(program.value("clip.sampled").shapes) == {(("frames", n),): (n, 3, 6, 6) for n in (4, 8, 16)}
    assert [op.variable for op in program.operations if isinstance(op, Sample)] == ["frames"]


def test_deciding_again_makes_new_variables():
    program = trace(small("Gated"))
    assert [v.name for v in program.variables] == ["stride", "channels", "stride.1", "channels.1"]
    body = next(call for call in calls(program) if call.segment == "blocks.1.body")
    assert dict(body.axes) == {"stride": "stride.1", "channels": "channels.1"}
    assert "blocks.1.gate.0" in body.inputs


def test_tiles_and_stitches_belong_together():
    program = trace(small("Patchwork"))
    (tile,) = (op for op in program.operations if isinstance(op, Tile))
    (stitch,) = (op for op in program.operations if isinstance(op, Stitch))
    assert tile.regions == stitch.regions == "tiles" and (tile.size, tile.halo) == (16, 2)


class Halves(RoutedModule):
    inputs = (Image("frame"),)
    outputs = (Tensor("out", (4,)),)
    go = Axis(False, True)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)

    def flow(self, f, frame):
        return f.call(self.pool, f.call(self.conv, frame))

    def pool(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


def test_a_shape_that_depends_on_the_frame_needs_a_size():
    with pytest.raises(
        FlowError, match=r"the shape of conv depends on the frame's size .*give the size .--size WIDTHx"
    ):
        trace(Halves())
    program = trace(Halves(), {"height": 40, "width": 60})
    assert program.value("conv").shapes == (((), (4, 20, 30)),)
