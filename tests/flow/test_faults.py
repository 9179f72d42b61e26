"""What a flow must not say, and what it is told."""

import pytest
import torch
from torch import nn

from edgeflow.flow import Axis, Eager, Image, RoutedModule, Tensor, Training, trace
from edgeflow.ir.errors import FlowError


class Base(RoutedModule):
    inputs = (Image("frame", 32, 32),)
    outputs = (Tensor("out", (4, 32, 32)),)
    exit = Axis(1, 2, 3)
    go = Axis(False, True)

    def __init__(self):
        super().__init__()
        self.enter = nn.Conv2d(3, 4, 3, 1, 1)
        self.same = nn.Conv2d(4, 4, 3, 1, 1)
        self.down = nn.Conv2d(4, 4, 3, 2, 1)
        self.score = nn.Conv2d(3, 3, 32)
        self.by_name = nn.ModuleDict({"2": nn.Conv2d(4, 4, 1)})

    def scores(self, x):
        return self.score(x).flatten(1)

    def data_dependent(self, x):
        return x if x.sum() > 0 else -x

    def exits(self, f, frame):
        return f.route(frame, exit=f.call(self.scores, frame)).exit


def flow(body, base=Base):
    """A model whose flow is `body`."""
    return type("Model", (base,), {"flow": body})().eval()


def refused(body, match, run=trace):
    with pytest.raises(FlowError, match=match) as caught:
        run(flow(body))
    assert "\n" not in str(caught.value)


def test_a_branch_on_data_in_a_segment():
    refused(
        lambda self, f, x: f.call(self.data_dependent, f.call(self.enter, x)),
        r"segment data_dependent branches on data .*make the branch a decision of the flow \(f.route\)",
    )


@pytest.mark.parametrize(
    "run", [trace, lambda m: Training(m)(torch.rand(1, 3, 32, 32))], ids=["trace", "train"]
)
def test_unlike_shapes_joined(run):
    def body(self, f, x):
        exit = self.exits(f, x)
        return f.call(self.down, f.call(self.enter, x), when=exit >= 2)

    refused(
        body,
        "segment down makes .* where it runs, but .* is kept elsewhere: both sides of when= need one",
        run,
    )


def test_a_value_outside_its_axis():
    refused(
        lambda self, f, x: f.call(self.same, f.call(self.enter, x), when=self.exits(f, x) == 9),
        r"9 is not a value of the axis \(1, 2, 3\): use one of these",
    )


def test_an_unknown_axis():
    refused(
        lambda self, f, x: f.route(x, depth=f.call(self.scores, x)),
        r"Model has no axis 'depth': it has \['exit', 'go'\]",
    )
    refused(
        lambda self, f, x: f.route(x, exit=f.call(self.scores, x)).depth,
        r"nothing was decided for the axis 'depth': decided are \['exit'\]",
    )


def test_a_missing_switch_branch():
    def body(self, f, x):
        y = f.call(self.enter, x)
        return f.switch(self.exits(f, x), {1: (self.same, y), 2: (self.same, y)})

    refused(
        body, r"switch over exit has branches for \['1', '2'\], its axis has \(1, 2, 3\): give each value one"
    )


def test_a_segment_that_cannot_be_found_again():
    refused(
        lambda self, f, x: f.call(lambda t: t, x), "is not a segment of Model: call one of its submodules"
    )
    refused(lambda self, f, x: f.call(nn.Conv2d(3, 4, 1), x), "is not a segment of Model")


def test_branching_in_python():
    def on_condition(self, f, x):
        return f.call(self.enter, x) if self.exits(f, x) >= 2 else x

    def on_decision(self, f, x):
        return f.call(self.enter, x) if self.exits(f, x) else x

    refused(on_condition, "has no single truth value: pass it as when=, do not branch on it in Python")
    refused(on_decision, "the decision exit has no single value: pass it as when= or as an axis")


@pytest.mark.parametrize("run", [trace, lambda m: Eager(m)(torch.rand(1, 3, 32, 32))], ids=["trace", "eager"])
def test_values_of_two_region_sets(run):
    def body(self, f, x):
        tiles = f.tile(x, size=16, halo=2)
        return f.call(self.same, tiles, f.call(self.enter, x))

    refused(body, "segment same mixes values of", run)


def test_scores_of_the_wrong_width():
    refused(
        lambda self, f, x: f.route(x, go=f.call(self.scores, x)), "the axis go has 2 values, its scores are"
    )


def test_an_output_in_tiles_or_too_many():
    refused(
        lambda self, f, x: f.call(self.enter, f.tile(x, size=16, halo=2)),
        "the output out is not one tensor per frame",
    )
    refused(lambda self, f, x: (f.call(self.enter, x), x), "declares 1 outputs, its flow returns 2")


def test_an_input_a_segment_refuses():
    refused(
        lambda self, f, x: f.call(self.same, x),
        r"segment same refuses inputs of shape \[\(2, 3, 32, 32\)\]: ",
    )


def test_a_state_that_does_not_fit():
    def body(self, f, x):
        f.state(old=(4, 8, 8))
        f.keep(old=f.call(self.enter, x))

    refused(body, r"keep: the state old is \(4, 8, 8\), got")
    refused(lambda self, f, x: f.state(old=(4, 8, 8)).new, r"the flow has no state 'new': it has \['old'\]")


def test_images_that_would_be_rounded_or_mixed():
    class Pictures(Base):
        outputs = (Image("picture", 32, 32),)

    def ends_with_a_condition(self, f, x):
        y = f.call(self.score_map, x)
        return f.call(self.again, y, when=self.exits(f, x) >= 2)

    class Model(Pictures):
        flow = ends_with_a_condition

        def __init__(self):
            super().__init__()
            self.score_map, self.again = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    with pytest.raises(
        FlowError, match="segment again keeps score_map where it does not run, and one side is an image"
    ):
        trace(Model())
    Model.flow = lambda self, f, x: f.call(self.again, f.call(self.score_map, x), when=False)
    assert [op.segment for op in trace(Model()).operations] == ["score_map"]


def test_a_call_that_never_runs_leaves_its_input():
    def body(self, f, x):
        y = f.call(self.enter, x)
        return f.call(self.same, y, when=self.exits(f, x) > 3)

    model, frame = flow(body), torch.rand(1, 3, 32, 32)
    assert "same" not in [getattr(op, "segment", "") for op in trace(model).operations]
    assert torch.equal(Eager(model)(frame).outputs[0], model.enter(frame))


def test_a_segment_of_a_dictionary_whose_keys_are_numbers():
    program = trace(flow(lambda self, f, x: f.call(self.by_name["2"], f.call(self.enter, x))))
    from edgeflow.flow.module import find_segment

    model = flow(lambda self, f, x: x)
    assert find_segment(model, program.operations[-1].segment) is model.by_name["2"]


def test_eager_names_what_it_cannot_take():
    model = flow(lambda self, f, x: f.call(self.enter, x))
    with pytest.raises(FlowError, match="Model takes 1 inputs, got 2"):
        Eager(model)(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
    with pytest.raises(FlowError, match=r"input frame is .*, got \(1, 3, 16, 32\)"):
        Eager(model)(torch.rand(1, 3, 16, 32))
    with pytest.raises(FlowError, match=r"no axis 'depth' to fix: Model has \['exit', 'go'\]"):
        Eager(model, {"depth": 1})
