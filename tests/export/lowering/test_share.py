import numpy as np
import onnx
import pytest

from edgeflow.export.lowering.share import share
from edgeflow.ir.bundle import open_bundle
from edgeflow.ir.bundle.costs import Costs, Device, load_costs, save_costs
from edgeflow.ir.errors import BundleError
from edgeflow.runtime import Fixed, Session


def graph(side, weight=1.0, channels=2):
    w = onnx.numpy_helper.from_array(np.full((channels, channels, 3, 3), weight, np.float32), f"w{weight}")
    node = onnx.helper.make_node("Conv", ["x", w.name], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    shape = ["batch", channels, side, side]
    info = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in "xy"]
    made = onnx.helper.make_graph([node], "g", info[:1], info[1:], [w])
    return onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=10)


def test_graphs_that_differ_in_shapes_alone_become_one_with_free_dimensions():
    large, small, other = graph(8), graph(4), graph(8, weight=2.0)
    common, same, apart = share([large, small, other])
    assert common is same and apart is not common
    dims = [d.dim_param or d.dim_value for d in common.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["batch", 2, "size0", "size0"]
    assert [d.dim_value for d in apart.graph.input[0].type.tensor_type.shape.dim][1:] == [2, 8, 8]


def test_a_chain_holds_the_weights_of_every_group_once(tiny_bundles):
    manifest = tiny_bundles["chained"].manifest
    stages = manifest.plans["landscape"].stages
    group = next(stage for stage in stages if stage.name == "cain.groups.1")
    assert len(group.graphs) == 3 and len({g.graph for g in group.graphs}) == 1
    assert len({g.key for g in group.graphs}) == len({g.golden for g in group.graphs}) == 3
    assert len({g.flops for g in group.graphs}) == 3


@pytest.mark.slow
@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
def test_measured_costs_are_kept_for_this_device_and_used(tiny_bundles, library, tmp_path):
    import shutil

    path = tmp_path / "t.edgeflow"
    shutil.copytree(tiny_bundles["chained"].path, path)
    frames = [np.random.default_rng(i).integers(0, 255, (150, 330, 3), np.uint8) for i in (0, 1)]

    def batches_of_the_head():
        session = Session(path, library=library, policy=Fixed(scale=1, exit=1))
        trace = session.run(*frames).trace
        return session, next(engine.batches for engine in trace.engines if engine.stage == "head")

    session, before = batches_of_the_head()
    plan = open_bundle(path).manifest.plans["landscape"]
    head = next(stage for stage in plan.stages if stage.name == "head")
    key = next(g.key for g in head.graphs if dict(g.variant) == {"scale": 1})
    save_costs(path, Costs(session.device, {key: {1: 1.0, 2: 9.0, 4: 9.0, 8: 9.0}}))
    assert batches_of_the_head()[1] == (1,) * sum(before)
    save_costs(path, Costs(session.device, {"another": {1: 2.0}}))
    assert set(load_costs(path, session.device).ms) >= {key, "another"}
    assert load_costs(path, Device("another", 1, library, "1")) is None


def test_damaged_costs_are_named(tmp_path):
    device = Device("c p u", 2, "onnxruntime", "1.0")
    path = save_costs(tmp_path, Costs(device, {"a": {1: 1.0}}))
    path.write_text("{")
    with pytest.raises(BundleError, match=r"damaged.*delete it and run `edgeflow profile`"):
        load_costs(tmp_path, device)
