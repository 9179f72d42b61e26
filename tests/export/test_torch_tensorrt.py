"""Torch-TensorRT's part, by a double of its three functions: the flow, the batches and the cache are edgeflow's."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from plugin_model import Deforming
from routed_models import small

from edgeflow.export.torch_tensorrt import TorchTensorRt
from edgeflow.flow.eager import Eager
from edgeflow.ir.errors import BackendError, ExportError


class Compiler:
    """Keeps exported programs as they are."""

    def __init__(self, fault=""):
        self.built, self.operators, self.fault = [], set(), fault
        self.dynamo = SimpleNamespace(compile=self.compile)

    def compile(
        self,
        program,
        *,
        arg_inputs,
        use_explicit_typing,
        min_block_size,
        require_full_compilation,
        disable_tf32,
    ):
        if self.fault:
            raise RuntimeError(self.fault)
        assert use_explicit_typing and require_full_compilation
        parts = [part for part in program.graph_module.modules() if isinstance(part, torch.fx.GraphModule)]
        self.operators |= {str(node.target).split(".")[0] for part in parts for node in part.graph.nodes}
        self.built.append([tuple(tensor.shape) for tensor in arg_inputs])
        return program

    def save(self, program, path, *, output_format, arg_inputs):
        assert output_format == "exported_program"
        with open(path, "wb") as file:
            torch.export.save(program, file)

    def load(self, path):
        with open(path, "rb") as file:
            return torch.export.load(file)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("Patchwork", (40, 56)), ("Shortcut", (16, 24))])
def test_the_flow_over_engines_equals_the_eager_flow(tmp_path, name, size):
    model = small(name)
    compiler = Compiler()
    engines, eager = TorchTensorRt(model, tmp_path, "fp32", compiler=compiler), Eager(model)
    for seed in range(4):
        frame = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(seed))
        made, wanted = engines(frame), eager(frame)
        assert made.routes == wanted.routes
        torch.testing.assert_close(made.outputs[0], wanted.outputs[0], atol=1e-6, rtol=0)
    assert {shapes[0][0] for shapes in compiler.built} <= {1, 2, 4, 8}
    again = Compiler()
    frame = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    TorchTensorRt(model, tmp_path, "fp32", compiler=again)(frame)
    assert not again.built, "engines were there"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_engines_hold_no_operator_of_edgeflows(tmp_path, precision, tiny):
    cases = ((tiny, [torch.rand(1, 3, 64, 96) for _ in range(2)]), (Deforming(), [torch.rand(1, 8, 12, 20)]))
    for model, frames in cases:
        compiler = Compiler()
        made = TorchTensorRt(model.eval(), tmp_path, precision, ["sd_finder"], compiler)(*frames)
        wanted = Eager(model)(*frames)
        assert "aten" in compiler.operators and "edgeflow" not in compiler.operators
        assert made.routes == wanted.routes
        close = 1e-5 if precision == "fp32" else 0.02
        torch.testing.assert_close(made.outputs[0], wanted.outputs[0], atol=close, rtol=close)


@pytest.mark.slow
def test_other_weights_are_other_engines(tmp_path):
    frame = torch.rand(1, 3, 16, 24)
    TorchTensorRt(small("Shortcut"), tmp_path, "fp32", compiler=Compiler())(frame)
    second = Compiler()
    TorchTensorRt(small("Shortcut", seed=1), tmp_path, "fp32", compiler=second)(frame)
    assert second.built


def test_half_is_autocast_and_what_engines_hand_on_is_not(tmp_path):
    model = small("Shortcut")
    frame = torch.rand(1, 3, 16, 24)
    made = TorchTensorRt(model, tmp_path, "fp16", compiler=Compiler())(frame).outputs[0]
    wanted = Eager(model)(frame).outputs[0]
    assert made.dtype == torch.float32
    assert 0 < (made - wanted).abs().max() < 0.02


def test_what_cannot_be_compiled_is_named(tmp_path):
    run = TorchTensorRt(small("Shortcut"), tmp_path, compiler=Compiler("Unsupported: aten.mystery\nmore"))
    with pytest.raises(
        ExportError, match=r"encode-\w+: Torch-TensorRT cannot compile it: Unsupported: aten.mystery$"
    ):
        run(torch.rand(1, 3, 16, 24))
    assert not list(tmp_path.iterdir())


def test_without_it_the_error_says_how_to_get_it(tmp_path):
    with pytest.raises(BackendError, match="pip install torch-tensorrt"):
        TorchTensorRt(small("Shortcut"), tmp_path)
    with pytest.raises(ExportError, match="fp32 or fp16, not 'int8'"):
        TorchTensorRt(small("Shortcut"), tmp_path, "int8", compiler=Compiler())
