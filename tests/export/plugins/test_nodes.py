"""Plugin nodes: what they are called, what their plugins read, and shapes that ONNX infers."""

import re
from collections import Counter

import onnx
import pytest
import torch
from onnx import helper
from torch import nn

from edgeflow.export.lowering.segment import SegmentModule, to_onnx
from edgeflow.export.operators.descriptor import DOMAIN
from edgeflow.export.plugins.nodes import PLUGINS
from edgeflow.ops.cost_volume import cost_volume
from edgeflow.targets.plugin_library import SOURCES


class Match(nn.Module):
    """A cost volume and something behind it."""

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return cost_volume(first, second, 2).relu()


def test_a_cost_volume_is_one_node_of_any_batch_and_size():
    free = {0: torch.export.Dim("n"), 2: torch.export.Dim("h", min=2), 3: torch.export.Dim("w", min=2)}
    frames = [torch.rand(2, 3, 5, 7), torch.rand(2, 3, 5, 7)]
    segment = SegmentModule(Match(), {}, (False, False), (False,))
    model = to_onnx(segment, frames, [free, free], ["out.0"], "a test", "plugin")
    onnx.checker.check_model(model, full_check=True)
    node, relu = model.graph.node
    assert (node.op_type, node.domain, list(node.input)) == ("EdgeflowCostVolume", DOMAIN, ["in.0", "in.1"])
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    assert attributes == {"radius": 2, "plugin_version": b"1", "plugin_namespace": b"edgeflow"}
    assert relu.op_type == "Relu"


@pytest.mark.parametrize("element", [onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), ("batch", 3, "height", "width")])
def test_a_cost_volumes_shape_and_type_are_inferred(shape, element):
    ins = [helper.make_tensor_value_info(name, element, shape) for name in ("a", "b")]
    out = helper.make_tensor_value_info("out", element, None)
    names = {"plugin_version": "1", "plugin_namespace": DOMAIN}
    node = helper.make_node("EdgeflowCostVolume", ["a", "b"], ["made"], domain=DOMAIN, radius=3, **names)
    graph = helper.make_graph([node, helper.make_node("Identity", ["made"], ["out"])], "g", ins, [out])
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    (info,) = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.value_info
    assert info.type.tensor_type.elem_type == element
    dims = [dim.dim_value or dim.dim_param or None for dim in info.type.tensor_type.shape.dim]
    assert dims == [shape[0], 49, *shape[2:]]


@pytest.mark.slow
def test_the_router_of_cain_sd_holds_one_per_level_of_its_flow(tiny):
    frames = [torch.zeros(1, 96, 160, 3, dtype=torch.uint8) for _ in range(2)]
    segment = SegmentModule(tiny.sd_finder, {}, (True, True), (False, False)).eval()
    for form, held in (("plugin", len(tiny.sd_finder.motion.decoders)), ("standard", 0)):
        graph = to_onnx(segment, frames, [{}, {}], ["scale", "exit"], "a test", form).graph
        assert Counter(node.op_type for node in graph.node)["EdgeflowCostVolume"] == held


@pytest.mark.parametrize("op", PLUGINS)
def test_nodes_have_the_attributes_that_the_plugin_reads(op):
    sources = [path.read_text() for path in SOURCES.glob("*_plugin.cpp")]
    (source,) = (text for text in sources if f'kName = "{op}"' in text)
    fields = re.search(r"fields\(\) \{(.*?;)", source, re.DOTALL)
    assert fields
    read = set(re.findall(r'\{"(\w+)", ', fields[1]))
    assert (
        set(onnx.defs.get_schema(op, 1, DOMAIN).attributes) - {"plugin_version", "plugin_namespace"} == read
    )
