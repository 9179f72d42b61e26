"""Clips as inputs: one flow in all four interpreters."""

import pytest
import torch
from film_models import Labels, WholeClip, labels, whole_clip

from edgeflow.flow import Clip, Eager, Image, Made, RoutedModule, Task, Tensor, Training, cost, trace
from edgeflow.ir.errors import FlowError
from edgeflow.ir.interface import interface_from_json, interface_to_json


@pytest.mark.parametrize(("frames", "read"), [(1, 2), (2, 2), (3, 4), (9, 4)])
def test_eager_samples_a_clip_of_any_length(frames, read):
    result = Eager(labels())(torch.rand(1, frames, 3, 24, 32))
    assert result.routes == {"read": [read]} and result.outputs[0].shape == (1, 3)


def test_training_equals_eager():
    model, clip = labels(), torch.rand(1, 4, 3, 24, 32)
    trained = Training(model, noise=False)(clip).outputs[0]
    assert torch.allclose(trained, Eager(model)(clip).outputs[0], atol=1e-6)


def test_cost_and_trace():
    flops = {call.variant: call.flops for call in cost(labels()).calls}
    assert flops[("read", 4),] > 1.9 * flops[("read", 2),]
    program = trace(labels())
    assert program.frame == "any" and program.task == Labels.task
    assert program.value("clip").image and program.value("clip.sampled").image
    assert trace(whole_clip()).value("clip").shape({}) == (3, 3, 24, 32)


@pytest.mark.parametrize(
    "spec", [*Labels.inputs, *WholeClip.inputs, Clip("c", 4), Image("i"), Tensor("t", (3,))]
)
def test_interfaces_are_plain_data(spec):
    assert interface_from_json(interface_to_json(spec)) == spec


class Wrong(RoutedModule):
    inputs = (Clip("clip", 4, 8, 8),)
    outputs = (Image("picture", 8, 8),)

    def __init__(self):
        super().__init__()
        self.mean = torch.nn.Conv2d(3, 3, 1)

    def flow(self, f, clip):
        return f.call(self.average, clip)

    def average(self, clip):
        return self.mean(clip.mean(1))


def test_what_the_task_says_is_what_is_made():
    model = Wrong()
    assert trace(model).task == Task.of_clip(4, Made("image"))
    model.task = Task.of_clip(4, Made("image", scale=2))
    with pytest.raises(FlowError, match="picture is 2 times as large as a frame, and it is 1 times"):
        trace(model)
    model.task = Task.of_clip(3, Made("image"))
    with pytest.raises(FlowError, match="Wrong takes 4 frames a call, its task has 3 offsets"):
        trace(model)


def test_a_clip_is_no_output_and_is_not_tiled():
    model = Wrong()
    model.outputs = (Clip("clip", 4, 8, 8),)
    with pytest.raises(FlowError, match="declared a Clip, which is an input"):
        trace(model)

    class Tiled(Wrong):
        def flow(self, f, clip):
            return f.stitch(f.call(self.average, f.tile(clip, size=8, halo=0)))

    with pytest.raises(FlowError, match="tile takes values"):
        trace(Tiled())
