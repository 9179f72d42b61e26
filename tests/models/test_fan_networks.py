"""SlowFast and UniFormer as frame-adaptive networks: their published counts, what lengths share, engines equal to the model."""

import numpy as np
import pytest
import torch
from kept_bundles import compile_kept

from edgeflow.flow import Eager, cost
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.bundle import open_bundle
from edgeflow.models.fan import FrameAdaptive
from edgeflow.models.fan.per_length import AlteredConv, AlteredStream
from edgeflow.models.fan.presets import build
from edgeflow.models.fan.slowfast import Depth as Paths
from edgeflow.models.fan.slowfast import SlowFast
from edgeflow.models.fan.uniformer import Depth as Stages
from edgeflow.models.fan.uniformer import Local, UniFormer
from edgeflow.runtime import Session
from edgeflow.targets import load

pytestmark = pytest.mark.slow

STREAM = ("stages.0.*.0", "stages.1.*.0", "stages.*.entrance")


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def small(name):
    torch.manual_seed(3)
    if name == "slowfast":
        network, altered, lengths = SlowFast(Paths((1, 1, 1, 1), 16), 5), ("slow.*.convs.0",), (8, 16)
    else:
        network, altered, lengths = UniFormer(Stages((1, 1, 1, 1), (16, 16, 64, 64)), 5), STREAM, (4, 8)
    model = FrameAdaptive(network, lengths=lengths, size=(64, 64), names=5, altered=altered)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if ("norms" in key or "thetas" in key) and tensor.is_floating_point():
                tensor.add_(0.3 * torch.rand(tensor.shape))
    return model.eval()


def test_slowfast_has_the_published_parameters_and_cost():
    """34.57 M and 65.7 GFLOPs (multiply-accumulates) with 400 classes, 8 of 32 frames at 256x256 (SlowFast's model zoo)."""
    assert count(SlowFast(Paths(), 400)) == 34_566_488
    table = list(cost(build("slowfast")).table("frame").values())
    assert table[1] / 2e9 == pytest.approx(65.7, rel=0.01)


def test_uniformer_has_the_published_parameters_and_cost():
    """21.4 M and 41.8 GFLOPs (multiply-accumulates) with 400 classes and 16 frames at 224x224 (the paper's Table 2)."""
    assert count(UniFormer(Stages(), 400)) == 21_400_400
    table = list(cost(build("uniformer-s")).table("frame").values())
    assert table[-1] / 2e9 == pytest.approx(41.8, rel=0.02)


def test_what_is_altered():
    kinds = {name: [type(m) for m in small(name).modules()] for name in ("slowfast", "uniformer")}
    assert kinds["slowfast"].count(AlteredConv) == 4 and AlteredStream not in kinds["slowfast"]
    assert kinds["uniformer"].count(AlteredStream) == 4 and AlteredConv not in kinds["uniformer"]


def test_the_whole_stream_is_altered_at_a_blocks_entrance():
    model = small("uniformer")
    block = model.network.stages[0][0]
    stream = block[0]
    assert isinstance(block, Local) and isinstance(stream, AlteredStream)
    x = torch.rand(2, 16, 2, 3, 3)
    model._length.position = 1
    assert torch.allclose(stream(x), x * (1 + stream.thetas[1]).reshape(1, -1, 1, 1, 1))
    assert not torch.allclose(stream.thetas[0], stream.thetas[1])


@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", ["slowfast", "uniformer"])
def test_engines_of_every_length_are_the_model(name, library, random, tmp_path):
    model = small(name)
    target = load({"onnxruntime": "cpu", "openvino": "openvino-cpu"}[library])
    path = tmp_path / "b.edgeflow"
    compile_kept(model, target, path, reference={"model": name})
    bundle = open_bundle(path)
    session, eager = Session(bundle), Eager(model)
    for frames in model.frames.values:
        clip = random.integers(0, 256, (frames, 64, 64, 3)).astype(np.uint8)
        result, wanted = session.run(clip), eager(to_tensor(clip))
        assert result.trace.choices["frames"] == [frames]
        np.testing.assert_allclose(result.outputs[0], wanted.outputs[0][0].detach().numpy(), atol=1e-4)


def test_training_leaves_branches_out():
    model = UniFormer(Stages((1, 1, 1, 1), (16, 16, 64, 64), dropped=0.5), 5)
    clip = torch.rand(1, 4, 3, 32, 32)
    assert torch.equal(model.eval()(clip), model(clip))
    torch.manual_seed(0)
    model.train()
    assert len({float(model(clip.repeat(4, 1, 1, 1, 1)).sum()) for _ in range(4)}) > 1
