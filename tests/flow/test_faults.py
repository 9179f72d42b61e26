"""What a flow must not say, and what it is told."""

import pytest
import torch
from torch import nn

from edgeflow.flow import Axis, Eager, Image, RoutedModule, Tensor, Training, trace
from edgeflow.ir.errors import FlowError
from edgeflow.ir.rules import ConfidenceBelow


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

    def of_other_shape(self, x):
        return x * (x > 0).nonzero().shape[0]

    def by_operator(self, x):
        return torch.cond(x.sum() > 0, lambda x: x * 2, lambda x: -x, (x,))

    def exits(self, f, frame):
        return f.route(frame, exit=f.call(self.scores, frame)).exit


def flow(body, base=Base):
    """A model whose flow is `body`."""
    return type("Model", (base,), {"flow": body})().eval()


def refused(body, match, run=trace):
    with pytest.raises(FlowError, match=match) as caught:
        run(flow(body))
    assert "\n" not in str(caught.value)


def test_a_branch_by_an_operator_in_a_segment():
    refused(
        lambda self, f, x: f.call(self.by_operator, f.call(self.enter, x)),
        r"segment by_operator branches or loops by an operator .*make the branch a decision of the flow \(f.route\)",
    )


def test_a_branch_on_data_in_a_segment():
    refused(
        lambda self, f, x: f.call(self.data_dependent, f.call(self.enter, x)),
        r"segment data_dependent branches on data .*make the branch a decision of the flow \(f.route\)",
    )


def test_a_flow_that_returns_nothing():
    refused(lambda self, f, x: None, "the flow of Model returns nothing")


def test_a_flow_that_does_not_take_the_inputs():
    refused(lambda self, f, x, y: x, r"declares the inputs .*write flow\(self, f, ")


def test_a_size_where_frames_have_their_own():
    class Own(Base):
        inputs = (Image("frame", 32, 32),)

        def flow(self, f, x):
            return f.call(self.enter, x)

    with pytest.raises(FlowError, match="the model's own frames are 32x32: leave --size out"):
        trace(Own().eval(), {"height": 64, "width": 64})


def test_a_rule_on_the_pixels_of_tiles():
    def body(self, f, x):
        tiles = f.tile(x, size=8, halo=0)
        route = f.route(tiles, deep=ConfidenceBelow(0.7))
        return f.stitch(f.call(self.double, tiles, when=route.deep))

    class Doubled(Base):
        deep = Axis(False, True)

        def double(self, x):
            return x * 2

    with pytest.raises(
        FlowError,
        match=r"the axis deep is decided by .*an image that was given: let a segment make scores of it",
    ):
        trace(flow(body, Doubled))


def test_a_shape_that_follows_data_in_a_segment():
    refused(
        lambda self, f, x: f.call(self.of_other_shape, f.call(self.enter, x)),
        r"segment of_other_shape makes a value whose shape follows its data \(aten.nonzero.default\).* write it with a mask",
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
        lambda self, f, x: f.route(x, go=f.call(self.scores, x)),
        "the axis go has 2 values, so its scores are 2 numbers",
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

    program = trace(Model())  # what a segment reads of a picture is not rounded: it stays in float
    assert not any(program.value(name).image for name in ("score_map", "again"))
    Model.flow = lambda self, f, x: f.call(self.again, x, when=self.exits(f, x) >= 2)
    with pytest.raises(
        FlowError, match="segment again keeps frame where it does not run, an input image, as an"
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
    from edgeflow.flow.segments import find_segment

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


COMPUTED = {
    "a module called": lambda self, f, x: self.same(f.call(self.enter, x)),
    "a function called": lambda self, f, x: torch.sigmoid(f.call(self.enter, x)),
    "a sum": lambda self, f, x: f.call(self.enter, x) + 1,
    "a product from the right": lambda self, f, x: 2 * f.call(self.enter, x),
    "an index": lambda self, f, x: f.call(self.enter, x)[:, :2],
    "a method": lambda self, f, x: f.call(self.enter, x).mean(),
    "a branch": lambda self, f, x: f.call(self.enter, x) if f.call(self.enter, x) else x,
    "a comparison": lambda self, f, x: f.call(self.enter, x) > 0,
}
RUNS = {
    "trace": trace,
    "eager": lambda m: Eager(m)(torch.rand(1, 3, 32, 32)),
    "train": lambda m: Training(m)(torch.rand(1, 3, 32, 32)),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("name", COMPUTED)
def test_computing_with_a_flows_values(name, run):
    refused(
        COMPUTED[name],
        r"a flow handles names, not tensors, and .* run it by f.call\(self.method, value\)",
        run,
    )


@pytest.mark.parametrize("declared", ["inputs", "outputs"])
def test_a_model_that_declares_nothing(declared):
    model = flow(lambda self, f, x: f.call(self.enter, x))
    setattr(type(model), declared, ())
    with pytest.raises(FlowError, match=f"Model declares no {declared}: write {declared} = "):
        trace(model)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision(dtype):
    model = flow(lambda self, f, x: f.call(self.enter, x))
    model.enter.to(dtype)
    with pytest.raises(
        FlowError, match=r"enter.weight is b?float16: models come in float32 \(model.float\(\)\)"
    ):
        trace(model)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(value):
    model = flow(lambda self, f, x: f.call(self.enter, x))
    model.enter.bias.data[1] = value
    with pytest.raises(FlowError, match=r"enter.bias holds NaN or infinity"):
        trace(model)


def compiled_whole(part):
    return torch.compile(part)


def compiled_in_place(part):
    part.compile()
    return part


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "way"),
    [
        (compiled_whole, "torch.compile"),
        (compiled_in_place, "torch.compile"),
        (torch.jit.script, "torch.jit"),
    ],
    ids=["compiled", "compiled in place", "scripted"],
)
def test_parts_that_are_compiled_already(make, way):
    model = flow(lambda self, f, x: f.call(self.enter, x))
    model.enter = make(model.enter)
    with pytest.raises(FlowError, match=f"enter was made by {way}: edgeflow compiles the plain module"):
        trace(model)


def test_an_image_that_has_other_channels():
    class Pictures(Base):
        outputs = (Image("picture", 32, 32),)

    model = flow(lambda self, f, x: f.call(self.enter, x), Pictures)
    with pytest.raises(
        FlowError, match=r'declared an Image, .* or declare Tensor\("picture", \(4, 32, 32\)\)'
    ):
        trace(model)


def test_numbers_and_scores_without_their_last_dimension():
    class Flat(Base):
        def number(self, x):
            return x.mean((1, 2, 3))

    def decided(self, f, x):
        from edgeflow.flow import DriftAbove

        f.decide(f.call(self.number, x), go=DriftAbove(0.5, longest=3))

    with pytest.raises(FlowError, match=r"one number per frame, a tensor \(n, 1\), got .*reshape\(-1, 1\)"):
        trace(flow(decided, Flat))
    with pytest.raises(FlowError, match=r"has 2 values, so its scores are 2 numbers a region, \(n, 2\); got"):
        trace(flow(lambda self, f, x: f.route(x, go=f.call(self.number, x)), Flat))


def test_a_size_that_a_model_cannot_take_names_the_nearest():
    class Free(Base):
        inputs = (Image("frame"),)
        outputs = (Image("picture"),)

        def __init__(self):
            super().__init__()
            self.leave = nn.Conv2d(48, 3, 1)

        def grouped(self, x):
            return torch.pixel_shuffle(torch.cat([torch.pixel_unshuffle(x, 16)], 1), 16)

    model = flow(lambda self, f, x: f.call(self.grouped, x), Free)
    with pytest.raises(FlowError, match=r"the nearest size that the model takes is 320x176") as caught:
        trace(model, {"height": 180, "width": 320})
    assert "\n" not in str(caught.value)
    assert trace(model, {"height": 176, "width": 320}).frame == "320x176"
