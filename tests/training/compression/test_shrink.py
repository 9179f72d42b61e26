"""The walk: what is cut away without changing what is computed, and what is named because it cannot be."""

import pytest
import torch
from torch import nn

from edgeflow.ir.errors import TrainError
from edgeflow.models.rebuilt import rebuilt
from edgeflow.models.st_mfnet import PRESETS, STMFNet
from edgeflow.models.weights import write_weights
from edgeflow.training.compression import shrink as walk
from edgeflow.training.compression.density import layers_of
from edgeflow.training.compression.shrink import shrink


class Blocks(nn.Module):
    """A residual of a grouped convolution, a depthwise one, a concatenation, attention, a transposed one."""

    def __init__(self):
        super().__init__()
        self.entry = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.PReLU())
        self.grouped = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.BatchNorm2d(8))
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.side = nn.Conv2d(3, 4, 1)
        self.share = nn.Linear(12, 12)
        self.up = nn.ConvTranspose2d(12, 6, 4, 2, 1)
        self.last = nn.Conv2d(6, 3, 1)

    def forward(self, x):
        y = self.entry(x)
        y = y + self.grouped(y).relu()
        y = torch.cat([self.depthwise(y), self.side(x)], 1)
        y = y * self.share(y.mean((2, 3))).sigmoid()[:, :, None, None]
        return self.last(self.up(y).relu())


class Clip(nn.Module):
    """Three dimensions."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv3d(3, 8, (1, 3, 3), padding=(0, 1, 1))
        self.norm = nn.BatchNorm3d(8)
        self.up = nn.ConvTranspose3d(8, 6, (3, 4, 4), (1, 2, 2), 1)
        self.flat = nn.Conv3d(6, 4, (2, 1, 1))
        self.last = nn.Conv2d(4, 3, 1)

    def forward(self, x):
        return self.last(self.flat(self.up(self.norm(self.first(x)).relu())).squeeze(2))


class Dense(nn.Module):
    """A pyramid of dense concatenations over shared features: the ways through it double with every layer."""

    def __init__(self):
        super().__init__()
        self.entry = nn.Conv2d(3, 4, 3, padding=1)
        self.convs = nn.ModuleList(nn.Conv2d(8 + 4 * i, 4, 3, padding=1) for i in range(12))
        self.last = nn.Conv2d(8 + 4 * 12, 3, 1)

    def forward(self, x):
        shared = self.entry(x)
        y = torch.cat([shared, shared.relu()], 1)
        for conv in self.convs:
            y = torch.cat([conv(y).relu(), y], 1)
        return self.last(y)


NETWORKS = {
    "blocks": (Blocks, lambda: (torch.rand(1, 3, 8, 10),)),
    "dense": (Dense, lambda: (torch.rand(1, 3, 8, 8),)),
    "clip": (Clip, lambda: (torch.rand(1, 3, 2, 8, 8),)),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    make, draw = NETWORKS[request.param]
    torch.manual_seed(0)
    module = make().eval()
    for name, buffer in module.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return module, draw()


def half(module):
    return {name: 0.5 for name, _ in layers_of(module)}


def emptied(module, inputs):
    """The network, with nothing left in the channels that a walk by halves cuts."""
    cuts, _ = walk._cuts(module, inputs, half(module), ())
    copy, graph = walk._followed(module, inputs)
    read = {layer for _, layer in layers_of(copy)}
    with torch.no_grad():
        for cut in cuts:
            root = copy.get_submodule(cut.root)
            pruner = graph.get_pruner_of_module(root).prune_out_channels
            for dep, channels in graph.get_pruning_group(root, pruner, list(cut.channels)).items:
                layer = dep.target.module
                if layer not in read or not graph.is_in_channel_pruning_fn(dep.handler):
                    continue
                if isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d):
                    layer.weight[channels] = 0
                    continue
                within = layer.weight.shape[1]  # of a group; the channels of each are the same ones
                layer.weight[:, sorted({channel % within for channel in channels})] = 0
    return copy


def test_channels_that_nothing_reads_can_go(network):
    module, inputs = network
    module = emptied(module, inputs)
    small = shrink(module, inputs, half(module))
    assert not small.left
    torch.testing.assert_close(small.module(*inputs), module(*inputs))


def test_layers_are_as_wide_as_densities_say(network):
    module, inputs = network
    small = dict(layers_of(shrink(module, inputs, half(module)).module))
    for name, layer in layers_of(module):
        out = 1 if name == "last" else 0.5
        read = layer.in_channels if hasattr(layer, "in_channels") else layer.in_features
        made = layer.out_channels if hasattr(layer, "out_channels") else layer.out_features
        now = small[name]
        assert (now.out_channels if hasattr(now, "out_channels") else now.out_features) == made * out
        first = 3 if read == 3 else read / 2
        assert (now.in_channels if hasattr(now, "in_channels") else now.in_features) == first
        if getattr(layer, "groups", 1) == 2:
            assert now.groups == 2


def test_the_densest_reader_decides_and_kept_layers_stay():
    torch.manual_seed(0)
    module, inputs = Blocks().eval(), (torch.rand(1, 3, 8, 8),)
    of = half(module) | {"depthwise": 0.1, "last": 0.34}
    small = shrink(module, inputs, of, keep=("side",))
    assert small.module.side.out_channels == 4 and small.left["side"] == "it is kept"
    assert small.module.last.in_channels == 2 and module.last.in_channels == 6


@pytest.mark.slow
def test_an_operator_that_cannot_be_followed_is_named_with_its_layer():
    network = STMFNet(PRESETS["tiny"].sizes)
    inputs = tuple(torch.rand(1, 3, 32, 32) for _ in range(4))
    small = shrink(network, inputs, half(network))
    assert "operator that cannot be followed" in small.left["kernels.double_second_alpha.7"]
    assert "operator that cannot be followed" in small.left["motion.decoders.1.up_flow"]  # it leads a warp
    assert small.module.motion.refiner[2].out_channels == 16  # behind PWC-Net's dense pyramid, which ends
    assert small.module.texture.levels[0][0].first[0].out_channels == 4
    assert small.module.features.up[0].small.grouped[0].groups == 4  # depthwise: each channel a group
    assert sum(p.numel() for p in small.module.parameters()) < 0.8 * sum(
        p.numel() for p in network.parameters()
    )


def test_what_cannot_be_followed_at_all_is_refused():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        shrink(Broken(), (torch.rand(1, 3, 4, 4),), {"conv": 0.5})

    class Hidden(Broken):
        def forward(self, x):
            return {"made": object()} if torch.is_grad_enabled() else self.conv(x)

    with pytest.raises(TrainError, match="Hidden cannot be followed"):
        shrink(Hidden(), (torch.rand(1, 3, 4, 4),), {"conv": 0.5})


def test_a_small_network_is_rebuilt_from_its_weights(network, tmp_path):
    module, inputs = network
    small = shrink(module, inputs, half(module)).module.eval()
    write_weights(small, tmp_path / "small.safetensors", {}, half=False)
    again = rebuilt(type(module)().eval(), tmp_path / "small.safetensors")
    torch.testing.assert_close(again(*inputs), small(*inputs))


def test_weights_of_another_network_are_refused(tmp_path):
    write_weights(Clip(), tmp_path / "other.safetensors", {})
    with pytest.raises(TrainError, match="not of this model"):
        rebuilt(Blocks(), tmp_path / "other.safetensors")
