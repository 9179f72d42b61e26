"""Tiles of what segments made, states of tiles, blended stitches: eager, trained, counted, and compiled for both libraries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from kept_bundles import compile_kept
from torch import nn

from edgeflow.export.sample import moving_picture
from edgeflow.flow import Axis, Eager, Image, RoutedModule, Table, Training, cost, trace
from edgeflow.flow.flow import Scored
from edgeflow.flow.tensors import blend_tiles, cut_tile, pool_map, to_tensor
from edgeflow.ir import tiles as geometry
from edgeflow.ir.errors import FlowError
from edgeflow.ir.plan.plan_json import plan_from_json, plan_to_json
from edgeflow.ir.rules import Argmax
from edgeflow.ir.tiles import TileGrid
from edgeflow.runtime import Session
from edgeflow.targets import load

HEIGHT, WIDTH = 40, 56


class OneFrame(RoutedModule):
    """A picture in, a picture out; tiles of 24 with a halo of 4."""

    inputs = (Image("frame", HEIGHT, WIDTH),)
    outputs = (Image("picture", HEIGHT, WIDTH),)
    deep = Axis(False, True)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.features = nn.Conv2d(3, 6, 3, 1, 1)
        self.judge = nn.Conv2d(6, 2, 3, 1, 1)
        self.draw = nn.Conv2d(6, 3, 3, 1, 1)
        with torch.no_grad():  # so that some tiles go one way, and some the other
            found = self.judge(self.features(to_tensor(moving_picture(HEIGHT, WIDTH, 0))))
            middle = found.amax((0, 2, 3)) if isinstance(self, Blended) else found.mean((0, 2, 3))
            self.judge.bias[0] += middle[1] - middle[0]

    def scores(self, x):
        return self.judge(x).mean((2, 3))

    def look(self, x):
        return self.judge(self.features(x))

    def paint(self, x, deep):
        return torch.sigmoid(self.draw(x)) if deep else torch.sigmoid(x[:, :3])


class TilesOfFeatures(OneFrame):
    """Features of the whole frame are cut, beside the frame itself."""

    def flow(self, f, frame):
        tiles, pixels = f.tile(f.call(self.features, frame), frame, size=24, halo=4)
        route = f.route(tiles, deep=f.call(self.scores, tiles))
        return f.stitch(f.call(self.both, tiles, pixels, deep=route.deep))

    def both(self, x, frame, deep):
        return self.paint(x, deep) * 0.5 + frame * 0.5


class TilesOfHalf(OneFrame):
    """Features at half the frame's size are cut, and the picture that comes of them is as large as the frame."""

    def half(self, x):
        return F.avg_pool2d(self.features(x), 2)

    def double(self, x, deep):
        return F.interpolate(self.paint(x, deep), scale_factor=2)

    def flow(self, f, frame):
        tiles = f.tile(f.call(self.half, frame), size=12, halo=2)
        route = f.route(tiles, deep=f.call(self.scores, tiles))
        return f.stitch(f.call(self.double, tiles, deep=route.deep))


class Colour(OneFrame):
    """Tiles are painted in the frame's own colour, which has no height and width."""

    def flow(self, f, frame):
        tiles, colour = f.tile(frame, f.call(self.mean, frame), size=24, halo=4)
        x = f.call(self.features, tiles)
        route = f.route(tiles, deep=f.call(self.scores, x))
        return f.stitch(f.call(self.tint, x, colour, deep=route.deep))

    def mean(self, x):
        return x.mean((2, 3))

    def tint(self, x, colour, deep):
        return self.paint(x, deep) * colour[:, :, None, None]


class TileStates(OneFrame):
    """A tile is painted anew where it is not what it was when it was painted last; else the last painting stays."""

    def change(self, x, seen):
        return (x - seen).abs().mean((1, 2, 3)).reshape(-1, 1)

    def again(self, x, last, deep):
        return torch.sigmoid(self.draw(self.features(x))) if deep else last

    def flow(self, f, frame):
        tiles = f.tile(frame, size=24, halo=4)
        state = f.state(seen=(3, 24, 24), last=(3, 24, 24))
        route = f.route(tiles, deep=Scored(Table((0.04,)), f.call(self.change, tiles, state.seen)))
        painted = f.call(self.again, tiles, state.last, deep=route.deep)
        f.keep(seen=tiles, last=painted, when=route.deep)
        return f.stitch(painted)


class Blended(OneFrame):
    """Tiles fade into each other; the largest score of a patch decides."""

    def flow(self, f, frame):
        tiles = f.tile(frame, size=24, halo=4)
        route = f.route(tiles, deep=Scored(Argmax(), f.call(self.look, frame), pool="max"))
        x = f.call(self.features, tiles)
        return f.stitch(f.call(self.paint, x, deep=route.deep), blend=True)


class LastFrame(OneFrame):
    """A frame is kept as it came, and the next one is told from it; the picture that is made is kept, too."""

    def flow(self, f, frame):
        state = f.state(before=(3, HEIGHT, WIDTH), made=(3, HEIGHT, WIDTH))
        picture = f.call(self.mixed, frame, state.before, state.made)
        f.keep(before=frame, made=picture)
        return picture

    def mixed(self, frame, before, made):
        return torch.sigmoid(self.draw(self.features(frame - before))) * 0.5 + made * 0.5


class ReadAfterwards(OneFrame):
    """A picture is put together, and read by a segment beside being an output."""

    outputs = (Image("picture", HEIGHT, WIDTH), Image("soft", HEIGHT, WIDTH))

    def flow(self, f, frame):
        tiles = f.tile(frame, size=24, halo=4)
        picture = f.stitch(f.call(self.paint, f.call(self.features, tiles), deep=True))
        return picture, f.call(self.soften, picture)

    def soften(self, x):
        return F.avg_pool2d(x, 3, 1, 1)


class DrawnTwice(OneFrame):
    """A picture is drawn, and on some frames drawn over: both sides of the decision are the output."""

    def draft(self, x):
        return torch.sigmoid(self.draw(x))

    def over(self, x):
        return (x * 1.5 - 0.25).clamp(0, 1)

    def flow(self, f, frame):
        state = f.state(before=(3, HEIGHT, WIDTH))
        change = f.call(self.change, frame, state.before)
        f.keep(before=frame)
        route = f.route(change, deep=Scored(Table((0.08,)), change))
        picture = f.call(self.draft, f.call(self.features, frame))
        return f.call(self.over, picture, when=route.deep)

    def change(self, x, before):
        return (x - before).abs().mean((1, 2, 3)).reshape(-1, 1)


MODELS = (TilesOfFeatures, Colour, TilesOfHalf, TileStates, Blended, LastFrame, ReadAfterwards, DrawnTwice)


def frames(count=6):
    """A picture that moves on the left and stands still on the right."""
    still = moving_picture(HEIGHT, WIDTH, 0)
    made = []
    for time in range(count):
        frame = still.copy()
        frame[:, :20] = moving_picture(HEIGHT, WIDTH, 4 * time)[:, :20]
        made.append(np.ascontiguousarray(frame))
    return made


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: model.__name__)
def compiled(request, tmp_path_factory):
    model = request.param().eval()
    path = tmp_path_factory.mktemp("primitives") / f"{request.param.__name__}.edgeflow"
    return model, compile_kept(
        model, load("cpu"), path, reference={}, strategy="routes", frames=frames()
    ).path


@pytest.mark.slow
@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
def test_the_runtime_makes_what_the_eager_flow_makes(compiled, library):
    model, path = compiled
    eager, exact, session = (
        Eager(model),
        Session(path, library=library, exact=True),
        Session(path, library=library),
    )
    taken = set()
    for frame in frames():
        wanted, found, pictures = eager(to_tensor(frame)), exact.run(frame), session(frame)
        assert found.trace.choices == wanted.routes
        taken |= {choice for choices in wanted.routes.values() for choice in choices}
        pictures = pictures if isinstance(pictures, tuple) else (pictures,)
        for ours, theirs, picture in zip(found.outputs, wanted.outputs, pictures, strict=True):
            np.testing.assert_allclose(ours, theirs[0].numpy(), atol=2e-6)
            rounded = (theirs[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
            assert picture.dtype == np.uint8 and np.abs(picture - rounded).max() <= 1
    if "deep" in dict(wanted.routes):
        assert taken == {False, True}, "the model is to take both ways"


def test_a_plan_survives_the_manifest(compiled):
    from edgeflow.ir.bundle import open_bundle

    for plan in open_bundle(compiled[1]).manifest.plans.values():
        assert plan_from_json(plan_to_json(plan)) == plan


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_training_without_noise_makes_what_eager_makes_and_has_gradients(model):
    built = model()
    batch = torch.cat([to_tensor(frame) for frame in frames(2)])
    result = Training(built, noise=False)(batch)
    result.outputs[0].sum().backward()
    assert built.draw.weight.grad is not None and built.draw.weight.grad.abs().sum() > 0
    for number, frame in enumerate(frames(2)):
        built.eval()
        wanted = Eager(built)(to_tensor(frame)).routes
        for name, choices in wanted.items():
            axis = built.axes[name]
            rows = result.masks[name].argmax(1).reshape(2, -1)[number].tolist()
            assert [axis.values[i] for i in rows] == choices


def test_costs_count_tiles_of_features_by_their_own_size():
    whole, half = (cost(model()).table("tiles") for model in (TilesOfFeatures, TilesOfHalf))
    assert whole["deep=True"] == 4 * half["deep=True"]


def test_the_program_says_what_belongs_to_tiles():
    program = trace(TileStates().eval())
    assert {state.name: (state.regions, state.image) for state in program.states} == {
        "state.seen": ("tiles", True),
        "state.last": ("tiles", False),
    }
    (tile,) = [op for op in trace(TilesOfHalf().eval()).operations if type(op).__name__ == "Tile"]
    assert tile.smaller == 2


class Wrong(OneFrame):
    """Flows that cannot be."""

    def __init__(self, what):
        super().__init__()
        self.what = what

    def third(self, x):
        return F.interpolate(x, size=(17, 23))

    def colour(self, x):
        return x.mean((2, 3))

    def flow(self, f, frame):
        state = f.state(seen=(3, 24, 24))
        tiles = f.tile(frame, size=24, halo=4)
        if self.what == "odd":
            f.tile(f.call(self.third, frame), size=12, halo=2)
        if self.what == "first":
            f.tile(f.call(self.colour, frame), frame, size=24, halo=4)
        if self.what == "both":
            f.keep(seen=tiles)
            f.call(self.features, frame, state.seen)
        if self.what == "unknown":
            f.keep(old=tiles)
        return f.stitch(f.call(self.paint, f.call(self.features, tiles), deep=True))


@pytest.mark.parametrize(
    ("what", "complaint"),
    [
        ("odd", "smaller by a whole factor"),
        ("first", "after the first also"),
        ("both", "the state seen belongs to tiles, where it was first used, and is used with frame"),
        ("unknown", "the flow has no state 'old'"),
    ],
)
def test_what_cannot_be_is_refused(what, complaint):
    with pytest.raises(FlowError, match=complaint):
        trace(Wrong(what).eval())


def test_states_of_tiles_want_all_tiles_in_training():
    with pytest.raises(FlowError, match="train on all of them"):
        Training(TileStates(), tiles_per_frame=1)(to_tensor(frames(1)[0]))


grids = st.builds(
    TileGrid, st.integers(5, 70), st.integers(5, 70), st.integers(12, 32), st.integers(0, 5), st.just(1)
)


@settings(max_examples=40, deadline=None)
@given(grids, st.sampled_from([1, 2]))
def test_what_is_cut_and_blended_again_is_what_it_was(grid, scale):
    torch.manual_seed(0)
    frame = torch.rand(1, 2, grid.height, grid.width)
    cut = [F.interpolate(cut_tile(frame, grid, i), scale_factor=scale) for i in range(len(grid))]
    whole = F.interpolate(frame, scale_factor=scale)
    torch.testing.assert_close(blend_tiles(cut, grid), whole, atol=1e-5, rtol=0)
    arrays = np.concatenate([tile.numpy() for tile in cut])
    np.testing.assert_allclose(geometry.blend(arrays, grid), whole[0].numpy(), atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(grids, st.integers(1, 20), st.integers(1, 20))
def test_the_largest_of_a_patch_is_found_alike_by_torch_and_numpy(grid, height, width):
    scores = np.random.default_rng(0).standard_normal((3, height, width)).astype(np.float32)
    ours = geometry.pool_map(scores, grid, "max")
    theirs = pool_map(torch.from_numpy(scores)[None], grid, "max")[0].numpy()
    assert np.array_equal(ours, theirs) and ours.max() == scores.max()
    assert (ours >= geometry.pool_map(scores, grid) - 1e-5).all()


class OnePartMissing(RoutedModule):
    """Of two values that stand in for a call's two, the first was made on some routes only."""

    inputs = (Image("frame", 16, 16),)
    outputs = (Image("picture", 16, 16),)
    way = Axis("left", "made", "both")

    def flow(self, f, frame):
        r = f.route(frame, way=f.call(self.scores, frame))
        first = f.call(self.darker, frame, when=r.way == "made", otherwise=None)
        second = f.call(self.lighter, frame)
        first, second = f.call(self.two, frame, when=r.way == "both", otherwise=(first, second))
        return f.call(self.sum, first, second, when=r.way != "left", otherwise=second)

    def scores(self, x):
        return x.mean((2, 3))

    def darker(self, x):
        return x / 4

    def lighter(self, x):
        return x / 2

    def two(self, x):
        return x / 8, x / 16

    def sum(self, x, y):
        return x + y


@pytest.mark.parametrize(("way", "share"), [(0, 1 / 2), (1, 3 / 4), (2, 3 / 16)])
def test_values_that_stand_in_keep_their_places_where_one_of_them_is_missing(way, share):
    frame = torch.full((1, 3, 16, 16), 0.25)
    frame[:, way] = 1  # the largest score decides
    with torch.no_grad():
        (made,) = Eager(OnePartMissing())(frame).outputs[0]
    assert torch.allclose(made, frame[0] * share)
