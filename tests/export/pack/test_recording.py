"""Runs that make only what is asked for: the same values as a plain run, and nothing twice."""

from collections import Counter

import pytest
import torch
from routed_models import SMALL, small
from torch import nn

from edgeflow.export.pack.recording import Memory, OnDemand, Recording
from edgeflow.export.sample import sample_calls
from edgeflow.flow import Axis, Flow, Image, RoutedModule
from edgeflow.flow.eager import Eager, EagerFlow, EagerValue
from edgeflow.flow.flow import leaves
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.program import FRAME
from edgeflow.ir.route import NEVER, assignments


class Plain(EagerFlow):
    """A plain run that notes what every call made."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.made = []

    def _call(self, segment, inputs, when, *rest):
        made = super()._call(segment, inputs, when, *rest)
        if when != NEVER:
            self.made.append(leaves(made))
        return made


class Mosaic(RoutedModule):
    """Tiles of several routes, and a segment that reads the stitched frame."""

    inputs = (Image("frame"),)
    outputs = (Image("picture"),)
    kind = Axis("a", "b")

    def __init__(self):
        super().__init__()
        self.score, self.work, self.last = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 3, 3, 1, 1), nn.Conv2d(3, 3, 1)
        self.ran = Counter()

    def flow(self, f: Flow, frame):
        tiles = f.tile(frame, size=16, halo=2)
        route = f.route(tiles, kind=f.call(self.score, frame))
        worked = f.call(self.paint, tiles, kind=route.kind)
        some = f.call(self.sharpen, worked, when=route.kind == "a")
        return f.call(self.finish, f.stitch(some))

    def paint(self, x, kind):
        self.ran["paint", len(x)] += 1
        return self.work(x) + (0.1 if kind == "a" else 0.2)

    def sharpen(self, x):
        self.ran["sharpen", len(x)] += 1
        return x + self.work(x)

    def finish(self, x):
        return torch.sigmoid(self.last(x))


def routes_of(model):
    flow = Eager(model)
    flow(*inputs_of(model)[0])
    return [{}, *(dict(route) for route in assignments(flow.last.variables))][:12]


def inputs_of(model):
    return [[to_tensor(a) for a in call] for call in sample_calls(model.inputs, (40, 56), 2)]


@pytest.mark.parametrize("name", [*SMALL, "Mosaic"])
@torch.no_grad()
def test_it_makes_what_a_plain_run_makes(name):
    model = Mosaic().eval() if name == "Mosaic" else small(name)
    first, second = inputs_of(model)
    before, memory = Eager(model), Memory()
    before(*first)
    for fixed in routes_of(model):
        plain = Eager(model, fixed, Plain)
        plain.states = before.states
        plain(*second)
        run = Recording(memory, model, fixed, before.states)
        model.flow(run, *(EagerValue(FRAME, [x]) for x in second))
        for wanted, (_, found) in zip(plain.last.made, run.calls, strict=True):
            for one, other in zip(wanted, found, strict=True):
                assert (one.regions, len(one.tensors)) == (other.regions, len(other.tensors))
                for a, b in zip(one.tensors, other.tensors, strict=True):
                    assert (a is None) == (b is None)
                    assert a is None or torch.allclose(a, b, atol=1e-5)  # of a batch of tiles, and of one


@torch.no_grad()
def test_routes_share_calls_and_tiles_that_nothing_reads_are_not_made():
    model, memory = Mosaic().eval(), Memory()
    (inputs, _) = inputs_of(model)
    model.finish = model.last  # so that nothing reads the stitched frame
    values = [EagerValue(FRAME, [x]) for x in inputs]

    class Unread(Recording):
        def stitch(self, tiles):
            return EagerValue(FRAME, [torch.zeros(1, 3, 40, 56)])

    for fixed in ({"kind": "a"}, {"kind": "b"}, {"kind": "a"}):
        run = Unread(memory, model, fixed, {})
        model.flow(run, *values)
        (painted,) = run.calls[1][1]
        assert painted.tensors[len(painted.tensors) // 2] is not None
    assert {what: n for what, n in model.ran.items() if what[1] == 1} == {("paint", 1): 2, ("sharpen", 1): 1}


def test_a_tensor_is_made_when_it_is_read():
    made = []
    values = OnDemand(4, lambda i: made.append(i) or torch.tensor(i))
    assert (len(values), made) == (4, [])
    assert values[2] == 2 and values[2] == 2 and made == [2]
    assert [int(x) for x in values] == [0, 1, 2, 3] and made == [2, 0, 1, 3]
    assert [int(x) for x in values[1:3]] == [1, 2]
