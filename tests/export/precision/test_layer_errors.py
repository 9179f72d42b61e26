"""What each layer loses, alone and accumulated."""

from __future__ import annotations

import json
from dataclasses import asdict

import onnx
import pytest
from kept_bundles import compile_kept
from openvino_here import HAS_BF16
from typer.testing import CliRunner
from uneven_model import Uneven

from edgeflow.cli.commands import app
from edgeflow.export.precision.calibrate import watch
from edgeflow.export.precision.layer_errors import errors_of, to_bf16
from edgeflow.export.precision.qdq import guest_session, layers_of, quantised, ranged, scheme_of
from edgeflow.export.sample import moving_picture
from edgeflow.ir.bundle.layer_errors import load_layers
from edgeflow.ir.errors import BundleError
from edgeflow.ir.sqnr import sqnr_db
from edgeflow.runtime import open_bundle
from edgeflow.targets import load

FRAMES = [moving_picture(16, 24, time) for time in range(4)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Bundles of a model whose layer `uneven` stays in float at int8, by precision."""
    folder = tmp_path_factory.mktemp("layers")

    def export(precision):
        target = load("openvino-cpu").at(precision)
        can = (
            precision != "bf16" or HAS_BF16
        )  # else there is nothing to compare, and the table is all there is
        path = folder / precision
        return compile_kept(Uneven().eval(), target, path, reference={}, frames=FRAMES, compare=can).path

    return {precision: export(precision) for precision in ("fp32", "bf16", "int8")}


@pytest.fixture(scope="module")
def engine(exported):
    """The graph in float with its ranges, and a row of its inputs."""
    bundle = open_bundle(exported["fp32"])
    ((name, entry),) = bundle.manifest.graphs.items()
    seen = watch(bundle, FRAMES, {name})[name]
    names = [port.tensor for port in seen.inputs]
    return ranged(onnx.load(bundle.path / entry.file), names, seen.rows), names, seen.rows[:1]


def made_at(graph, layer, names, row):
    """What a graph's layer makes."""
    graph = onnx.ModelProto.FromString(graph.SerializeToString())
    output = next(node.output[0] for node in graph.graph.node if node.name == layer)
    if output not in {info.name for info in graph.graph.output}:
        graph.graph.output.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None))
    return guest_session(graph.SerializeToString()).run([output], dict(zip(names, row, strict=True)))[0]


@pytest.mark.parametrize("library", ["openvino", "tensorrt"])
def test_errors_are_those_of_a_graph_with_that_layer_quantised_and_of_the_whole(engine, library):
    source, names, (row,) = engine
    layers = layers_of(source.graph)
    scheme = scheme_of(library)
    whole = quantised(source, layers, scheme)
    found = errors_of(source.graph, whole, "int8", names, [row])
    assert [error.layer for error in found] == layers and len(layers) == 5
    for error in found:
        exact = made_at(source.graph, error.layer, names, row)
        alone = made_at(quantised(source, [error.layer], scheme), error.layer, names, row)
        together = made_at(quantised(source, layers, scheme), error.layer, names, row)
        # Quantised alone, a layer behind an activation function has what that reads rounded, too.
        behind = ".2/" in error.layer
        assert error.alone_db == pytest.approx(sqnr_db([(alone, exact)]) + 2 * behind, abs=0.1 + 2 * behind)
        assert error.accumulated_db == pytest.approx(sqnr_db([(together, exact)]), abs=0.1)
    assert found[0].alone_db == pytest.approx(found[0].accumulated_db, abs=0.1)  # nothing was lost before it
    assert found[-1].accumulated_db < found[-1].alone_db - 3


def test_bfloat16_rounds_what_layers_read(engine):
    source, names, rows = engine
    found = errors_of(source.graph, to_bf16(source.graph), "bf16", names, rows)
    assert all(40 < error.alone_db < 70 and error.precision == "bf16" for error in found)
    assert found[-1].accumulated_db < found[-1].alone_db


def test_a_layer_in_float_is_exact_alone_and_reads_what_is_not(exported):
    bundle = open_bundle(exported["int8"])
    ((name, entry),) = bundle.manifest.graphs.items()
    assert "layers.json" in bundle.manifest.files
    ((graph, errors),) = load_layers(bundle.path).items()
    assert graph == name
    kept = [error for error in errors if error.precision == "fp32"]
    assert tuple(error.layer for error in kept) == entry.float_layers
    assert all(error.alone_db is None and error.accumulated_db < 60 for error in kept)
    assert {error.precision for error in errors} == {"fp32", "int8"}


@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_check_prints_them(exported, precision):
    said = CliRunner().invoke(app, ["check", str(exported[precision]), "--layers", "--json"])
    if precision == "int8":  # a processor may lack bfloat16
        assert said.exit_code == 0
        known = load_layers(exported[precision])
        assert json.loads(said.stdout)["layers"] == {n: [asdict(e) for e in es] for n, es in known.items()}
    (errors,) = load_layers(exported[precision]).values()
    assert len(errors) == 5


def test_a_bundle_without_them_says_so(exported):
    said = CliRunner().invoke(app, ["check", str(exported["fp32"]), "--layers"])
    assert isinstance(said.exception, BundleError) and "at fp32 and fp16 none is measured" in str(
        said.exception
    )
