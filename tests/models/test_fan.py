"""FAN's networks: counts, what lengths share and what not, bad input, one engine per length."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from kept_bundles import compile_kept
from torch import nn

from edgeflow.flow import Eager, cost, trace
from edgeflow.ir.errors import FlowError, InputError
from edgeflow.ir.rules import Nearest, Within
from edgeflow.models.fan import FrameAdaptive, Longest
from edgeflow.models.fan.per_length import specialise
from edgeflow.models.fan.presets import PRESETS, build
from edgeflow.models.fan.resnet import DEPTHS, TSM, Depth
from edgeflow.models.fan.tea import TEA, Excitation, OverTime
from edgeflow.runtime import Fixed, Rules, Session
from edgeflow.targets import load

pytestmark = pytest.mark.slow

SMALL = Depth((1, 1, 1, 1), (8, 8, 16, 16), expansion=1)
CONVS = ("blocks.*.convs.0",)


def small(names=("one", "two", "three"), **options) -> FrameAdaptive:
    torch.manual_seed(5)
    model = FrameAdaptive(TSM(SMALL, 3), size=(32, 32), names=names, altered=CONVS, **options)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if ("norms" in name or "thetas" in name) and tensor.is_floating_point():
                tensor.add_(0.3 * torch.rand(tensor.shape))
    return model.eval()


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_a_tsm_resnet_50_has_the_papers_parameters_and_cost():
    plain = TSM(DEPTHS["r50"], 1000)
    assert count(plain) == 25_557_032
    model = FrameAdaptive(plain, size=(224, 224), names=1000, altered=CONVS).eval()
    assert count(model) == 25_702_632
    table = list(cost(model).table("frame").values())
    assert [flops / 2e9 for flops in table] == pytest.approx([16.4, 32.8, 65.5], rel=0.02)


def test_tea_has_the_papers_parameters():
    torch.manual_seed(0)
    model = FrameAdaptive(TEA(1000), size=(64, 64), names=1000).eval()
    assert count(model) == 26_293_810
    clip = torch.rand(1, 8, 3, 64, 64)
    said = model.classify(clip, 8)
    assert said.shape == (1, 1000)
    window = model.network.judge(model.network.look(model.normalised(clip)[0]), 8)
    assert torch.allclose(window, said, atol=1e-5)


@pytest.mark.parametrize("shifting", [False, True])
def test_a_convolution_over_time_is_one_over_each_channels_frames(shifting):
    over = OverTime(6, shifting)
    x = torch.rand(2 * 5, 6, 3, 4)
    clips = x.reshape(2, 5, 6, 3, 4)
    if shifting:
        wanted = torch.zeros_like(clips)
        wanted[:, :-1, :3], wanted[:, 1:, 3:] = clips[:, 1:, :3], clips[:, :-1, 3:]
        assert torch.equal(over(x, 5), wanted.reshape(x.shape))
    over.weight.data.normal_()
    lines = clips.permute(0, 3, 4, 2, 1).reshape(-1, 6, 5)
    wanted = nn.functional.conv1d(lines, over.weight.T.reshape(6, 1, 3), padding=1, groups=6)
    wanted = wanted.reshape(2, 3, 4, 6, 5).permute(0, 4, 3, 1, 2).reshape(x.shape)
    assert torch.allclose(over(x, 5), wanted, atol=1e-5)


def test_excitation_of_a_still_clip_is_that_of_no_change_at_the_end():
    """Where nothing moves, only what the squeezed frames' own convolution makes counts, and the last frame's change is zero."""
    excite = Excitation(32).eval()
    x = torch.rand(3, 32, 4, 4)
    made = excite(x, 3)
    quiet = torch.sigmoid(excite.widened(torch.zeros(1, 32, 1, 1))) - 0.5
    assert torch.allclose(made[2], (x + x * quiet)[2], atol=1e-6)


def test_a_length_differs_from_another_in_norms_and_alteration_alone():
    model = small()
    clip = torch.rand(1, 8, 3, 32, 32)
    said = {length: model.classify(clip, length) for length in (4, 8, 16)}
    assert not torch.allclose(said[4], said[8]) and not torch.allclose(said[8], said[16])
    own = {name for name, _ in model.named_parameters() if "norms." in name or "thetas." in name}
    for name, parameter in model.named_parameters():
        if name in own and ".2" in name[-9:]:
            parameter.data.zero_()
    assert torch.equal(model.classify(clip, 4), said[4]) and torch.equal(model.classify(clip, 8), said[8])


def test_in_eval_a_scale_and_a_shift_are_the_norm():
    model = small()
    for training in (False, True):
        norm = model.network.norm
        norm.train(training)
        x = torch.rand(4, 8, 6, 6)
        expected = nn.functional.batch_norm(
            x,
            norm.norms[0].running_mean.clone(),
            norm.norms[0].running_var.clone(),
            norm.norms[0].weight,
            norm.norms[0].bias,
            training,
        )
        model._length.position = 0
        assert torch.allclose(norm(x), expected, atol=1e-6)


def test_any_network_with_a_norm_is_transformed():
    """A user's own 3D network with a group norm, and one of attention with layer norms."""

    class Volume(nn.Module):
        def __init__(self):
            super().__init__()
            self.enter = nn.Conv3d(3, 8, 3, (1, 2, 2), 1, groups=1)
            self.norm = nn.GroupNorm(2, 8)
            self.deep = nn.Conv3d(8, 8, 3, 1, 1, groups=4)
            self.head = nn.Linear(8, 3)

        def forward(self, clip):
            x = self.deep(self.norm(self.enter(clip.transpose(1, 2))).relu())
            return self.head(x.mean((2, 3, 4)))

    model = FrameAdaptive(Volume(), size=(16, 16), names=3, lengths=(2, 4), altered=("deep",)).eval()
    theta = model.network.deep.thetas[1]
    theta.data.uniform_(-0.5, 0.5)
    x = torch.rand(1, 8, 4, 8, 8)
    model._length.position = 1
    wanted = model.network.deep.conv(x * (1 + theta).reshape(1, 8, 1, 1, 1))
    assert torch.allclose(model.network.deep(x), wanted, atol=1e-6)
    assert Eager(model)(torch.rand(1, 5, 3, 16, 16)).routes == {"frames": [4]}
    layers = nn.Sequential(nn.Flatten(2), nn.LayerNorm(192), nn.Linear(192, 3))
    specialise(layers, 3, lambda name: False)
    assert len(layers[1].norms) == 3


def test_a_layer_in_two_places_stays_one():
    norm, conv = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)
    network = nn.Sequential(nn.Sequential(conv, norm), nn.Sequential(conv, norm), nn.RMSNorm(4))
    specialise(network, 2, lambda name: True)
    assert network[0][0] is network[1][0] and network[0][1] is network[1][1]
    assert count(network) == 12 + 2 * 3 + 2 * 6 + 2 * 4


@pytest.mark.parametrize(
    ("frames", "length"), [(1, 4), (4, 4), (5, 4), (6, 8), (7, 8), (11, 8), (12, 16), (16, 16), (40, 16)]
)
def test_a_clip_takes_the_nearest_length_ties_the_longer(frames, length):
    assert Eager(small())(torch.rand(1, frames, 3, 32, 32)).routes == {"frames": [length]}


def test_what_cannot_be_transformed_is_refused_by_name():
    with pytest.raises(FlowError, match="Linear has no normalisation"):
        FrameAdaptive(nn.Linear(3, 3), size=(8, 8), names=3)
    with pytest.raises(FlowError, match=r"no convolution is named 'blocks.9.convs.0'"):
        FrameAdaptive(TSM(SMALL, 3), size=(32, 32), names=3, altered=("blocks.9.convs.0",))
    with pytest.raises(FlowError, match="clip lengths ascend"):
        small(lengths=(8, 4))
    network = TSM(SMALL, 3)
    network.blocks[1].convs[0].padding_mode = "reflect"
    with pytest.raises(FlowError, match=r"layer blocks\.1\.convs\.0: its padding is 'reflect'"):
        FrameAdaptive(network, size=(32, 32), names=3, altered=CONVS)


def test_labels_that_do_not_fit_the_network_are_refused():
    with pytest.raises(FlowError, match="TSM makes 3 scores, and there are 2 labels"):
        trace(small(names=("one", "two")))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("fan") / "small.edgeflow"
    compile_kept(small(), load("cpu"), path, reference={"model": "small"})
    return path


@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
def test_every_length_has_its_engine_and_clips_have_any_length(bundle, library):
    model, session = small(), Session(bundle, library=library)
    rng = np.random.default_rng(0)
    for frames, length in ((3, 4), (6, 8), (8, 8), (12, 16), (30, 16)):
        clip = rng.integers(0, 255, (frames, 32, 32, 3), np.uint8)
        result = session.run(clip)
        assert result.trace.choices == {"frames": [length]} and len(result.trace.engines) == 1
        wanted = model(torch.from_numpy(clip).permute(0, 3, 1, 2)[None].float() / 255)
        assert np.abs(result.outputs[0] - wanted.detach().numpy()[0]).max() < 1e-4


def test_an_engine_holds_the_plain_networks_operators(bundle, tmp_path):
    """As ONNX Runtime loads it, nothing is left of norms and alterations: convolutions, shifts and the last layer."""
    torch.manual_seed(0)
    plain = FrameAdaptive(Plain(TSM(SMALL, 3)), size=(32, 32), names=3, lengths=(4,)).eval()
    compile_kept(plain, load("cpu"), tmp_path / "plain.edgeflow", reference={"model": "plain"})
    wanted = loaded_operators(next((tmp_path / "plain.edgeflow/graphs").glob("*.onnx")), tmp_path)
    for graph in (bundle / "graphs").glob("*.onnx"):
        assert loaded_operators(graph, tmp_path) == wanted


class Plain(nn.Module):
    """A network of one length, its norms as torch has them: `specialise` sees one that is no part of it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = [network]
        self.norm = nn.BatchNorm2d(1)

    def forward(self, clip):
        return self.network[0].eval()(clip)


def loaded_operators(graph, folder):
    options = ort.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(folder / "loaded.onnx"), 3
    ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(folder / "loaded.onnx", load_external_data=False).graph.node
    return Counter(node.op_type for node in nodes)


def test_lengths_share_the_weights_on_disk(tmp_path):
    """Beside a copy of the network's, only norms, alterations and what small constants fold to is there per length."""
    torch.manual_seed(0)
    model = FrameAdaptive(
        TSM(Depth((1, 1, 1, 1), (8, 96, 96, 96), expansion=1), 3), size=(32, 32), names=3, altered=CONVS
    )
    compile_kept(model.eval(), load("cpu"), tmp_path / "wide.edgeflow", reference={"model": "wide"})
    held = (tmp_path / "wide.edgeflow/graphs/weights.bin").stat().st_size
    own = [name for name, _ in model.named_parameters() if "norms." in name or "thetas." in name]
    sizes = {name: 4 * parameter.numel() for name, parameter in model.named_parameters()}
    shared = sum(size for name, size in sizes.items() if name not in own)
    assert held <= 1.03 * shared + sum(sizes[name] for name in own)


def test_a_policy_chooses_the_length(bundle):
    clip = np.zeros((16, 32, 32, 3), np.uint8)
    assert Session(bundle, policy=Fixed(frames=4)).run(clip).trace.choices == {"frames": [4]}
    assert Session(bundle, policy=Rules(frames=Nearest(7))).run(clip).trace.choices == {"frames": [8]}
    session = Session(bundle, policy=Rules(frames=Within(1e6)))
    assert [session.run(clip).trace.choices["frames"] for _ in range(2)] == [[4], [16]]
    assert session.run(clip[:6]).trace.choices == {"frames": [8]}
    session = Session(bundle, policy=Rules(frames=Within(1e-6)))
    assert [session.run(clip).trace.choices["frames"] for _ in range(3)] == [[4]] * 3


def test_bad_clips_are_refused(bundle):
    session = Session(bundle)
    with pytest.raises(InputError, match="clip"):
        session.run(np.zeros((4, 32, 30, 3), np.uint8))
    with pytest.raises(InputError, match="clip"):
        session.run(np.zeros((0, 32, 32, 3), np.uint8))
    with pytest.raises(InputError, match="expected uint8"):
        session.run(np.zeros((4, 32, 32, 3), np.float32))
    with pytest.raises(FlowError, match="5"):
        Session(bundle, policy=Fixed(frames=5)).run(np.zeros((4, 32, 32, 3), np.uint8))


def test_the_longest_is_what_savings_are_measured_against():
    model = small()
    clip = torch.rand(1, 16, 3, 32, 32)
    assert torch.equal(Longest(model)(clip), model(clip))
    assert list(cost(Longest(model)).table("frame").values()) == [
        list(cost(model).table("frame").values())[-1]
    ]


def test_presets_have_weights_for_every_way():
    assert set(PRESETS) >= {"tiny", "tsm-r18", "tsm-r50", "tsm-r101", "tea"}
    for variant in ("all", "cascade", "stream"):
        names = set(build("tiny", variant).state_dict())
        assert names == set(build("tiny").state_dict())
