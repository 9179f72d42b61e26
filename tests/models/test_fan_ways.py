"""Other ways through a frame-adaptive network: cascade and stream, eagerly and by sessions on both libraries."""

import numpy as np
import pytest
import torch
from kept_bundles import compile_kept

from edgeflow.flow import Eager
from edgeflow.ir.errors import FlowError
from edgeflow.models.fan import Cascade, FrameAdaptive, SlidingWindow
from edgeflow.models.fan.resnet import TSM, Depth
from edgeflow.runtime import Session
from edgeflow.targets import load

pytestmark = pytest.mark.slow

SMALL = Depth((1, 1, 1, 1), (8, 8, 16, 16), expansion=1)
LIBRARIES = ("onnxruntime", "openvino")
WAYS = {"all": FrameAdaptive, "cascade": Cascade, "stream": SlidingWindow}


def built(way: str, **options):
    """A small network whose lengths differ in all that they may differ in; the same weights for every way."""
    torch.manual_seed(5)
    model = WAYS[way](
        TSM(SMALL, 5), size=(32, 32), names=5, lengths=(2, 4, 8), altered=("blocks.*.convs.0",), **options
    )
    torch.manual_seed(6)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if "norms" in name or "thetas" in name:
                tensor.copy_(
                    tensor + 0.3 * torch.rand(tensor.shape) if tensor.is_floating_point() else tensor
                )
    return model.eval()


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    rng = np.random.default_rng(1)
    light = rng.uniform(0, 1, (12, 1, 1, 3))
    return (rng.uniform(0, 255, (12, 32, 32, 3)) * light).astype(np.uint8)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ways")

    def exported(way, **options):
        path = folder / f"{way}-{len(options)}.edgeflow"
        if not path.exists():
            compile_kept(built(way, **options), load("cpu"), path, reference={"model": way})
        return path

    return exported


def clip_of(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames).permute(0, 3, 1, 2)[None].float() / 255


def confidence(alone: FrameAdaptive, clip: np.ndarray) -> float:
    """Of the shortest length in a clip of eight frames."""
    return float(alone.classify(clip_of(clip[[2, 6]]), 2).detach().softmax(1).max())


def windows(film: np.ndarray, length: int):
    """The last frames at every frame of a film; the first stands in for those before it."""
    for end in range(len(film)):
        yield film[[max(0, number) for number in range(end - length + 1, end + 1)]]


def test_frame_by_frame_equals_the_clip_alone(film):
    alone, stream = built("all"), Eager(built("stream"))
    for frame, window in zip(film, windows(film, 8), strict=True):
        said = stream(clip_of(frame[None])[0]).outputs[0]
        wanted = alone(clip_of(window))
        assert torch.allclose(said, wanted, atol=1e-5)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_stream_looks_at_every_frame_once(export, film, library):
    alone, session = built("all"), Session(export("stream"), library=library)
    for number, (frame, window) in enumerate(zip(film, windows(film, 8), strict=True)):
        result = session.run(frame)
        assert np.allclose(result.outputs[0], alone(clip_of(window)).detach().numpy()[0], atol=1e-4)
        stages = [engine.stage for engine in result.trace.engines]
        assert stages.count("look") == 1 and stages.count("judge") == 1, (number, stages)
        looked = next(engine for engine in result.trace.engines if engine.stage == "look")
        assert looked.regions == 1 and looked.batches == (1,)
    session.reset()
    assert np.allclose(session(film[0]), alone(clip_of(film[[0] * 8])).detach().numpy()[0], atol=1e-4)


def test_between_windows_only_frames_are_looked_at(export, film):
    alone, session = built("all"), Session(export("stream", stride=3, window=4))
    expected = [window for number, window in enumerate(windows(film, 4)) if number % 3 == 0]
    for number, frame in enumerate(film):
        result = session.run(frame)
        judged = [engine.stage for engine in result.trace.engines].count("judge")
        assert judged == (number % 3 == 0)
        wanted = alone(clip_of(expected[number // 3])).detach().numpy()[0]
        assert np.allclose(result.outputs[0], wanted, atol=1e-4)


def test_a_network_that_says_nothing_of_single_frames_has_no_stream():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LayerNorm(3), torch.nn.Linear(3, 2))
    with pytest.raises(FlowError, match="Sequential has no methods `look` and `judge`"):
        SlidingWindow(network, size=(8, 8), names=2)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_cascade_stops_when_it_is_sure(export, film, library):
    alone = built("all")
    sure = float(np.median([confidence(alone, film[n : n + 8]) for n in range(5)]))
    session = Session(export("cascade", sure=sure), library=library)
    taken = set()
    for first in range(5):
        for length in (8, 5):
            clip = film[first : first + length]
            result = session.run(clip)
            shown = clip[[int(length / 16 + length / 8 * i) for i in range(8)]]
            for frames in (2, 4, 8):
                part = clip_of(shown[[int(4 / frames + 8 / frames * i) for i in range(frames)]])
                said = alone.classify(part, frames).detach()
                if float(said.softmax(1).max()) >= sure:
                    break
            taken.add(frames)
            assert np.allclose(result.outputs[0], said.numpy()[0], atol=1e-4)
            assert len(result.trace.engines) == (2, 4, 8).index(frames) + 1
    assert len(taken) > 1
