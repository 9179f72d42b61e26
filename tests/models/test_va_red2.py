import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeflow.flow import Clip, Tensor, Training, cost, trace
from edgeflow.flow.eager import Eager
from edgeflow.ir.errors import FlowError
from edgeflow.ir.program import Route
from edgeflow.ir.task import Made, Task
from edgeflow.models.va_red2 import Plain, Reduced, build
from edgeflow.models.va_red2.convolution import DynamicConv
from edgeflow.models.va_red2.pspnet import PSPNet
from edgeflow.models.va_red2.r2plus1d import R2Plus1D
from edgeflow.models.va_red2.x3d import X3D

CONVOLUTIONS = {
    "spatial": (lambda: nn.Conv3d(5, 9, (1, 3, 3), padding=(0, 1, 1)), (2, 5, 7, 8, 8)),
    "strided": (lambda: nn.Conv3d(5, 8, 3, (2, 2, 2), 1, bias=False), (2, 5, 8, 8, 8)),
    "picture": (lambda: nn.Conv2d(5, 7, 3, 1, 2, dilation=2), (2, 5, 8, 8)),
    "one frame": (lambda: nn.Conv3d(5, 6, (1, 3, 3), padding=(0, 1, 1)), (2, 5, 1, 8, 8)),
}


def dynamic(kind, space):
    torch.manual_seed(1)
    make, shape = CONVOLUTIONS[kind]
    conv, x = make(), torch.randn(shape)
    layer = DynamicConv(conv, conv(x).shape[2] if x.ndim == 5 else 1, space, "conv")
    for parameter in layer.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return layer, x


def gates(layer, stride, width):
    """Random gates of two clips that leave nothing before these branches."""
    made = []
    for values, first in ((layer.strides, stride), (layer.widths, width)):
        if len(values) > 1:
            made.append(torch.rand(2, len(values)))
            made[-1][:, : values.index(first)] = 0
    return made


@torch.no_grad()
@pytest.mark.parametrize("space", [2, 3])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_what_is_left_out_is_what_the_gates_leave(kind, space):
    layer, x = dynamic(kind, space)
    for stride in layer.strides:
        for width in layer.widths:
            given = gates(layer, stride, width)
            assert torch.equal(layer(x, *given, stride=stride, width=width), layer(x, *given))


@torch.no_grad()
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_the_full_branch_is_the_convolution_and_no_branch_is_nothing(kind):
    layer, x = dynamic(kind, 2)
    full = [torch.eye(len(values))[:1].repeat(2, 1) for values in layer.branches]
    assert torch.equal(layer(x, *full), layer.plain(x))
    none = [torch.zeros(2, len(values)) for values in layer.branches]
    assert not layer(x, *none, stride=layer.strides[-1], width=layer.widths[-1]).any()


def test_a_layer_of_one_frame_has_no_temporal_branches():
    layer, _ = dynamic("one frame", 3)
    assert (layer.strides, layer.widths) == ((1,), (1, 2, 4))


@torch.no_grad()
def test_half_rounds_up_and_frames_repeat():
    layer, x = dynamic("spatial", 2)
    layer.later[0].data.fill_(2)
    core = layer._core(x, 2, 2)
    assert core.shape == (2, 5, 4, 8, 8)
    made = layer(
        x, torch.tensor([[0.0, 1.0]]).repeat(2, 1), torch.tensor([[1.0, 0.0]]).repeat(2, 1), stride=2
    )
    plain = layer.plain(x)
    torch.testing.assert_close(made[:, :, ::2], plain[:, :, ::2])
    torch.testing.assert_close(made[:, :, 1::2], 2 * plain[:, :, :-1:2])


@pytest.mark.parametrize(
    ("conv", "reason"),
    [
        (nn.Conv3d(4, 4, 3, groups=2), "stem cannot be made dynamic: it has 2 groups"),
        (nn.ConvTranspose3d(4, 4, 3), "stem cannot be made dynamic: it is a ConvTranspose3d"),
        (nn.Conv3d(4, 4, 3, padding_mode="circular", padding=1), "its padding is 'circular'"),
        (nn.Conv1d(4, 4, 3), "it is a Conv1d"),
    ],
)
def test_layers_that_cannot_be_followed_are_named(conv, reason):
    with pytest.raises(FlowError, match=reason):
        DynamicConv(conv, 4, 2, "stem")


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv3d(3, 4, 1)
        self.second = Doubting()

    def forward(self, x):
        return self.second(self.first(x))


class Doubting(nn.Module):
    def forward(self, x):
        return x if x.mean() > 0 else -x


class Twice(Branching):
    def forward(self, x):
        return self.first(self.first(x)[:, :3])


@pytest.mark.parametrize(
    ("network", "pattern", "reason"),
    [
        (Branching, "first", "Branching cannot be followed in network.second|cannot be followed in .*second"),
        (Twice, "first", "layer network.first is called 2 times"),
        (Branching, "third", "Branching has no layer 'third'"),
    ],
)
def test_networks_that_cannot_be_followed_are_refused(network, pattern, reason):
    with pytest.raises(FlowError, match=reason):
        reduced(network(), pattern)


def reduced(network, *patterns, space=2):
    return Reduced(
        network,
        takes=Clip("clip", 8, 16, 16),
        makes=Tensor("scores", (3,)),
        task=Task.of_clip(8, Made("labels", names=("a", "b", "c"))),
        dynamic=patterns,
        space=space,
    ).eval()


def small(space=2, stages=(4, 6), blocks=1):
    """A small R(2+1)D whose gates differ from clip to clip."""
    torch.manual_seed(3)
    model = reduced(R2Plus1D(stages, blocks, 4, 3), "blocks.*.convs.*.spatial", space=space)
    for gate in model.gates:
        gate.enter.weight.data.normal_(0, 3)
        gate.leave.weight.data.normal_(0, 0.5)
        gate.leave.bias.data.zero_()
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm3d)):
        norm.running_var.fill_(0.3)
    return model


@torch.no_grad()
@pytest.mark.parametrize("space", [2, 3])
def test_training_is_the_routed_network(space):
    """Shared weights: all branches of one kernel, weighed by the gates, are what the chosen branch makes."""
    model, clips = small(space), torch.rand(5, 8, 3, 16, 16) * torch.rand(5, 8, 3, 1, 1)
    everything = {name: 1 for name in model.axes}
    trained = Training(model, fixed=everything)(clips).outputs[0]
    routed = [Eager(model)(clip[None]) for clip in clips]
    torch.testing.assert_close(trained, torch.cat([each.outputs[0] for each in routed]), rtol=1e-5, atol=1e-5)
    assert len({tuple(map(tuple, each.routes.values())) for each in routed}) > 1


@torch.no_grad()
def test_open_gates_leave_the_network_as_it_was():
    model = small()
    for gate in model.gates:
        nn.init.zeros_(gate.leave.weight)
        gate.leave.bias.data = torch.tensor([20.0, -1, 20, -1])
    clip = torch.rand(1, 8, 3, 16, 16)
    torch.testing.assert_close(model(clip), Plain(model)(clip), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_every_layer_is_decided_for_and_routes_meet_again():
    program = trace(small(blocks=2))
    routes = [operation for operation in program.operations if isinstance(operation, Route)]
    assert len(routes) == 8 and all(len(step.decisions) == 2 for step in routes)
    assert all(len(value.shapes) == 1 for value in program.values)


def test_a_short_layer_has_axes_of_its_own():
    model = reduced(R2Plus1D((4, 6, 8, 8), 1, 4, 3), "blocks.*.convs.*.spatial", space=3)
    assert {name: axis.values for name, axis in model.axes.items()} == {
        "stride": (1, 2, 4),
        "width": (1, 2, 4),
        "stride2": (1, 2),
    }
    assert model.layers[-1].strides == (1,)


@pytest.mark.slow
def test_r2plus1d_costs_what_the_paper_says():
    model = build("r2plus1d")
    assert len(model.layers) == 16
    macs = sum(call.flops for call in cost(Plain(model)).calls) / 2
    assert macs == pytest.approx(27.7e9, rel=0.03)
    gates = sum(call.flops for call in cost(model).calls if call.segment.startswith("gates")) / 2
    assert gates < 1e-3 * macs


def test_x3d_is_the_papers_to_the_parameter():
    network = X3D(400)
    assert sum(parameter.numel() for parameter in network.parameters()) == 3_794_322
    model = build("x3d-m")
    assert len(model.layers) == 52
    macs = sum(call.flops for call in cost(Plain(model)).calls) / 2
    assert macs == pytest.approx(6.20e9, rel=0.03)


def test_pspnet_has_channel_branches_alone_and_its_encoder_costs_what_the_paper_says():
    model = build("pspnet")
    assert set(model.axes) == {"width"} and len(model.layers) == 16
    with torch.device("meta"):
        encoder, picture = PSPNet(150).encoder, torch.empty(1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter:
        encoder(picture)
    assert counter.get_total_flops() / 2 == pytest.approx(10.6e9, rel=0.03)
