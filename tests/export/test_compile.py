import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from routed_models import small
from torch import nn

from edgeflow.export.compile import compile_model
from edgeflow.export.weights import WeightFile
from edgeflow.flow import Image, RoutedModule, Tensor
from edgeflow.ir.bundle import WEIGHTS
from edgeflow.ir.errors import BundleError, ExportError, FlowError
from edgeflow.ops.adacof import AdaCoF
from edgeflow.runtime import open_bundle
from edgeflow.runtime.check import check
from edgeflow.targets import load

STRATEGIES = ("chained", "routes")


def tensor(name, array):
    return onnx.numpy_helper.from_array(array, name)


def model_of(*tensors):
    return onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], list(tensors)))


def test_equal_weights_are_stored_once_and_aligned(tmp_path):
    large, middle = np.arange(2048, dtype=np.float32), np.arange(400, dtype=np.float32)
    one = model_of(tensor("a", middle), tensor("b", large), tensor("tiny", np.ones(3, np.float32)))
    two = model_of(tensor("c", large.copy()), tensor("d", -large))
    weights = WeightFile("weights.bin")
    (one, moved), (two, also_moved) = map(weights.externalised, (one, two))
    assert (moved, also_moved) == (1600 + 8192, 2 * 8192)
    weights.write(tmp_path / "weights.bin")
    assert weights.unique_bytes == 1600 + 2 * 8192
    places = {}
    for model in (one, two):
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        for found in onnx.load(path, load_external_data=False).graph.initializer:
            facts = {entry.key: entry.value for entry in found.external_data}
            places[found.name] = facts and (int(facts["offset"]), int(facts["length"]))
        loaded = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
        for name, wanted in (("a", middle), ("b", large), ("c", large), ("d", -large)):
            if name in loaded:
                np.testing.assert_array_equal(loaded[name], wanted)
    assert places["b"] == places["c"] != places["d"] and not places["tiny"]
    assert all(places[name][0] % 4096 == 0 for name in "bcd") and places["a"][0] % 64 == 0


def used_bytes(graph):
    """(offset, length) of each tensor that a graph refers to."""
    for found in onnx.load(graph, load_external_data=False).graph.initializer:
        facts = {entry.key: entry.value for entry in found.external_data}
        if facts:
            assert facts["location"] == "weights.bin"
            yield int(facts["offset"]), int(facts["length"])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_bundle_holds_each_weight_once(tiny, tiny_bundles, strategy):
    path = tiny_bundles[strategy].path
    places = {place for graph in path.glob("graphs/*.onnx") for place in used_bytes(graph)}
    data = (path / WEIGHTS).read_bytes()
    contents = [data[offset : offset + length] for offset, length in sorted(places)]
    assert len(set(contents)) == len(contents)
    assert sum(map(len, contents)) == tiny_bundles[strategy].unique_weight_bytes
    assert sum(map(len, contents)) <= 1.05 * sum(p.numel() * 4 for p in tiny.parameters())


def test_whole_routes_take_no_more_weights_than_a_chain(tiny_bundles):
    sizes = {s: (tiny_bundles[s].path / WEIGHTS).stat().st_size for s in STRATEGIES}
    assert sizes["routes"] <= sizes["chained"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_graphs_are_of_an_opset_that_every_engine_reads(tiny_bundles, strategy):
    graphs = sorted(tiny_bundles[strategy].path.glob("graphs/*.onnx"))
    assert len(graphs) == len(tiny_bundles[strategy].manifest.graphs) > 0
    operators = set()
    for path in graphs:
        model = onnx.load(path, load_external_data=False)
        operators |= {node.op_type for node in model.graph.node}
        assert {o.domain: o.version for o in model.opset_import}[""] == 19
        assert not model.functions
    assert operators & {
        "GridSample",
        "DeformConv",
    }  # sampling, whose linear mode is read as such at this opset, or its rewrite


def test_a_route_is_one_graph(tiny_bundles):
    (whole,) = (s for s in tiny_bundles["routes"].manifest.plans["landscape"].stages if s.regions == "tiles")
    assert len(whole.graphs) == len({graph.graph for graph in whole.graphs}) == 15


def test_variants_that_are_one_graph_run_as_one_group(small_bundle):
    _, compiled = small_bundle("Levels", "chained")
    draw = compiled.manifest.plans["landscape"].stages[-1]
    assert len(draw.graphs) == 2
    holds = [[graph.select.holds({"level": level}) for level in (1, 2, 3)] for graph in draw.graphs]
    assert sorted(holds) == [[False, True, True], [True, False, False]]


@torch.library.custom_op("edgeflow_tests::mystery", mutates_args=())
def mystery(x: torch.Tensor) -> torch.Tensor:
    return x + 1


@mystery.register_fake
def _(x):
    return torch.empty_like(x)


class Mysterious(RoutedModule):
    inputs = (Image("frame", 8, 8),)
    outputs = (Tensor("out", (3, 8, 8)),)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def flow(self, f, frame):
        return f.call(self.strange, frame, level=2)

    def strange(self, x: torch.Tensor, level: int) -> torch.Tensor:
        return mystery(self.conv(x) * level)


def test_an_operator_without_onnx_form_is_named(tmp_path):
    output = tmp_path / "m.edgeflow"
    with pytest.raises(
        ExportError, match=r"segment strange: .*edgeflow_tests.*mystery.* has no ONNX form"
    ) as caught:
        compile_model(Mysterious(), load("cpu"), output, reference={})
    assert "\n" not in str(caught.value) and not output.exists()


def graph_bytes(path):
    return {
        name: (path / graph.file).read_bytes() for name, graph in open_bundle(path).manifest.graphs.items()
    }


def test_an_interrupted_export_goes_on_where_it_stopped(tmp_path, small_bundle):
    _, whole = small_bundle("Shortcut", "chained")
    output = tmp_path / "s.edgeflow"

    def interrupt(what, done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_model(
            small("Shortcut"), load("cpu"), output, reference={}, strategy="chained", progress=interrupt
        )
    assert os.listdir(tmp_path) == ["s.edgeflow.partial"]
    again = compile_model(small("Shortcut"), load("cpu"), output, reference={}, strategy="chained")
    # Other processes may have lowered more by then than the two that were told of.
    assert again.resumed >= 2 and again.resumed + again.lowered == 4
    assert graph_bytes(output) == graph_bytes(whole.path)
    assert os.listdir(tmp_path) == ["s.edgeflow"]


def test_other_weights_are_not_mistaken_for_the_interrupted_ones(tmp_path):
    output = tmp_path / "s.edgeflow"

    def interrupt(what, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_model(
            small("Frames"), load("cpu"), output, reference={}, strategy="chained", progress=interrupt
        )
    again = compile_model(small("Frames", seed=1), load("cpu"), output, reference={})
    assert again.resumed == 0 and again.lowered == 3


def test_a_failed_export_leaves_the_old_bundle(tmp_path):
    output = tmp_path / "f.edgeflow"
    compile_model(small("Frames"), load("cpu"), output, reference={})
    before = graph_bytes(output)
    broken = small("Frames", seed=1)
    broken.head.weight.data[0] = 3e38
    with pytest.raises(ExportError, match=r"not finite in classify \(NaN or infinity\): check its weights"):
        compile_model(broken, load("cpu"), output, reference={})
    assert graph_bytes(output) == before
    with pytest.raises(ExportError, match="unknown plan 'magic'"):
        compile_model(small("Frames"), load("cpu"), output, reference={}, strategy="magic")
    assert graph_bytes(output) == before


def test_an_output_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for output in (tmp_path / "file", tmp_path / "file" / "in.edgeflow"):
        with pytest.raises(BundleError, match="cannot write"):
            compile_model(small("Frames"), load("cpu"), output, reference={})
    assert Path(tmp_path / "file").read_text() == ""


def test_a_flow_error_comes_before_any_file(tmp_path):
    class Halves(small("Levels").__class__):
        def look(self, frame):
            return self.see(frame)

        def flow(self, f, frame):
            return f.call(self.see, frame)

    with pytest.raises(FlowError):
        compile_model(Halves(), load("cpu"), tmp_path / "h.edgeflow", reference={})
    assert os.listdir(tmp_path) == []


def test_two_exports_of_one_name_do_not_meet(tmp_path):
    output = tmp_path / "f.edgeflow"

    def meanwhile(what, done, total):
        with pytest.raises(BundleError, match=r"another process is writing .*f\.edgeflow: wait"):
            compile_model(small("Frames"), load("cpu"), output, reference={})

    compile_model(small("Frames"), load("cpu"), output, reference={}, progress=meanwhile)
    assert os.listdir(tmp_path) == ["f.edgeflow"]


class Classifier(RoutedModule):
    """Flattens what a convolution makes of a picture by `view`, as many do."""

    inputs = (Image("frame", 12, 16),)
    outputs = (Tensor("scores", (3,)),)

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 12 * 16, 3)

    def scores(self, frame):
        made = self.conv(frame).relu()
        return self.last(made.view(made.shape[0], -1))

    def flow(self, f, frame):
        return f.call(self.scores, frame)


def test_features_of_a_picture_can_be_viewed(tmp_path):
    path = compile_model(Classifier().eval(), load("cpu"), tmp_path / "c.edgeflow", reference={}).path
    assert check(open_bundle(path)).passed


class Sized(RoutedModule):
    """AdaCoF, which needs the frame's size on a CPU."""

    inputs = (Image("frame"),)
    outputs = (Image("made"),)

    def __init__(self):
        super().__init__()
        self.layers, self.adacof = nn.Conv2d(3, 27, 3, padding=1), AdaCoF()

    def made(self, frame):
        return self.adacof(frame, *self.layers(frame).chunk(3, 1))

    def flow(self, f, frame):
        return f.call(self.made, frame)


def test_an_operator_of_ours_says_what_it_lacks(tmp_path):
    with pytest.raises(ExportError, match=r"needs the frame's size: export with --size$"):
        compile_model(Sized().eval(), load("cpu"), tmp_path / "s.edgeflow", reference={})
