"""What TensorRT's plugin operators compute, as ONNX functions of standard operators.

No other engine library has the plugins, but ONNX Runtime puts a function's body in the place of its calls. So a
copy of a graph that brings the bodies along runs where bundles are made: to calibrate int8 and to judge it.
Bundles hold no bodies: TensorRT's parser takes them instead of the plugins before 10.7.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import onnx.inliner

from edgeflow.export.operators.descriptor import DOMAIN
from edgeflow.export.plugins.nodes import PLUGINS
from edgeflow.ir.bundle import Bundle

_HEAD = f'<domain: "{DOMAIN}", opset_import: ["": 19]>'


def with_bodies(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that says itself what its plugin nodes compute, so that ONNX Runtime runs it."""
    held = {node.op_type for node in model.graph.node}
    made = onnx.ModelProto()
    made.CopyFrom(model)
    made.functions.extend(
        onnx.parser.parse_function(_HEAD + own.body) for node, own in PLUGINS.items() if node in held
    )
    return made


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with bodies in the place of its plugin nodes, for libraries that know no functions."""
    typed = onnx.shape_inference.infer_shapes(with_bodies(model))
    typed.graph.value_info.extend(  # the inliner knows the types of these alone
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in typed.graph.initializer
    )
    return onnx.inliner.inline_local_functions(typed, convert_version=True)


@contextmanager
def runnable(bundle: Bundle) -> Iterator[Bundle]:
    """A bundle that runs on processors: the same one, or a copy with bodies in the place of plugin nodes.

    The copy is gone afterwards.
    """
    manifest = bundle.manifest
    if not any(entry.plugins for entry in manifest.graphs.values()):
        yield bundle
        return
    with TemporaryDirectory(prefix="edgeflow-") as folder:
        copy = Path(shutil.copytree(bundle.path, Path(folder) / bundle.path.name))
        for entry in (entry for entry in manifest.graphs.values() if entry.plugins):
            path = copy / entry.file
            path.write_bytes(_inlined(onnx.load(path)).SerializeToString())
        graphs = {name: replace(entry, plugins=()) for name, entry in manifest.graphs.items()}
        yield Bundle(copy, replace(manifest, graphs=graphs))
