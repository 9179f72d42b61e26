"""Pictures at bfloat16: TensorRT casts to uint8 from float32 and float16 alone."""

import onnx
from kept_bundles import compile_kept

from edgeflow.ir.bundle import open_bundle
from edgeflow.targets import load


def test_no_picture_is_cast_from_bfloat16(tmp_path):
    from routed_models import small

    path = tmp_path / "at.edgeflow"
    compile_kept(
        small("Shortcut"),
        load("desktop-gpu").at("bf16"),
        path,
        reference={"model": "mine"},
        strategy="chained",
    )
    casts = []
    for entry in open_bundle(path).manifest.graphs.values():
        model = onnx.load(path / entry.file)
        inferred = onnx.shape_inference.infer_shapes(model).graph
        infos = (*inferred.value_info, *inferred.output, *inferred.input)
        types = {info.name: info.type.tensor_type.elem_type for info in infos}
        casts += [
            types[n.input[0]] for n in model.graph.node if types.get(n.output[0]) == onnx.TensorProto.UINT8
        ]
    assert casts and set(casts) == {onnx.TensorProto.FLOAT}
