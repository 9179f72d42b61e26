"""An export ends well only if the target's library computes what the model's own code does."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from edgeflow.export.compile import compile_model
from edgeflow.flow import Image, RoutedModule
from edgeflow.ir.errors import ExportError
from edgeflow.runtime import Session, open_bundle
from edgeflow.runtime.check import check
from edgeflow.targets import load


class One(RoutedModule):
    """A picture by one function."""

    inputs = (Image("frame", 16, 24),)
    outputs = (Image("out"),)

    def __init__(self, function):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, 1, 1)
        self.function = function

    def flow(self, f, frame):
        return f.call(self.part, frame)

    def part(self, x):
        return self.function(self, x)


def compiled(function, folder, target="cpu", **options):
    torch.manual_seed(0)
    model = One(function).eval()
    return compile_model(model, load(target), folder / "b.edgeflow", reference={}, **options)


def tampered(monkeypatch):
    """An exporter that gets a number wrong, as one that misreads an operator does."""
    from edgeflow.export.pack import bundle as packing

    add = packing._Packer._add_graph

    def wrong(self, stage, model, *rest):
        for tensor in model.graph.initializer:
            array = np.array(__import__("onnx").numpy_helper.to_array(tensor))
            if array.dtype == np.float32 and array.size == 3:
                tensor.raw_data = (array + 0.25).tobytes()
        return add(self, stage, model, *rest)

    monkeypatch.setattr(packing._Packer, "_add_graph", wrong)


def test_what_the_library_computes_otherwise_is_refused_and_nothing_is_written(tmp_path, monkeypatch):
    tampered(monkeypatch)
    with pytest.raises(
        ExportError,
        match=r"segment part: onnxruntime .* computes something else .* off by 2.5e-01 \(at most 1.0e-04\)",
    ):
        compiled(lambda m, x: m.conv(x), tmp_path)
    assert not (tmp_path / "b.edgeflow").exists()


def test_without_the_comparison_the_bundle_says_so(tmp_path, monkeypatch):
    tampered(monkeypatch)
    made = compiled(lambda m, x: m.conv(x), tmp_path, compare=False)
    assert made.manifest.provenance["compared"] == {"compared": False, "why": "it was not asked for"}
    assert not check(open_bundle(made.path)).passed


@pytest.mark.parametrize(("target", "library"), [("cpu", "onnxruntime"), ("openvino-cpu", "openvino")])
def test_the_manifest_says_what_compared_it(tmp_path, target, library):
    made = compiled(lambda m, x: m.conv(x), tmp_path, target)
    verdict = json.loads((made.path / "manifest.json").read_text())["provenance"]["compared"]
    assert verdict["compared"] and verdict["library"] == library and verdict["largest_error"] < 1e-5
    assert 0 < verdict["moves_by"] < 1e-5


@pytest.mark.parametrize("target", ["jetson-orin", "desktop-gpu-ort"])
def test_what_cannot_be_compared_here_says_why(tmp_path, target):
    made = compiled(lambda m, x: m.conv(x), tmp_path, target)
    assert not made.manifest.provenance["compared"]["compared"]
    assert (
        "device" in made.manifest.provenance["compared"]["why"]
        or "CUDA" in made.manifest.provenance["compared"]["why"]
    )


def chaos(module, x):
    """The logistic map: what differs in the last digit differs everywhere after thirty steps."""
    y = torch.sigmoid(module.conv(x)) * 0.8 + 0.1
    for _ in range(30):
        y = 3.99 * y * (1 - y)
    return y


def test_a_network_that_moves_by_itself_is_not_held_to_more(tmp_path):
    made = compiled(chaos, tmp_path)
    report = check(open_bundle(made.path))
    assert (
        report.passed
        and report.graphs[0].moved > 0.1
        and made.manifest.provenance["compared"]["moves_by"] > 0.1
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(tmp_path, value):
    with pytest.raises(
        ExportError, match=r"part makes values that are not finite in part \(NaN or infinity\)"
    ):
        compiled(lambda m, x: m.conv(x) + value, tmp_path)


def test_what_a_library_says_against_a_run_names_graph_and_segment(tmp_path):
    from edgeflow.ir.errors import BackendError

    made = compiled(lambda m, x: m.conv(x), tmp_path)
    session = Session(made.path)
    session.prepare()
    (loaded,) = session.executor.loaded.values()

    def run(inputs, outputs):
        raise RuntimeError("Non-zero status code\n  returned")

    loaded.engine.run = run
    with pytest.raises(
        BackendError,
        match=r"segment part: its engine part-\w+ cannot run on inputs of 1x16x24x3: Non-zero status code returned",
    ):
        session(np.zeros((16, 24, 3), np.uint8))


class Free(RoutedModule):
    """A picture by one function, of frames of any size."""

    inputs = (Image("frame"),)
    outputs = (Image("out"),)

    def __init__(self, function):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, 1, 1)
        self.function = function

    def flow(self, f, frame):
        return f.call(self.part, frame)

    def part(self, x):
        return self.function(self.conv(x))


def test_graphs_of_any_size_are_compared_at_sizes_of_unlike_shape(tmp_path):
    model = Free(lambda x: x * torch.arange(x.shape[3]) / x.shape[3]).eval()
    made = compile_model(model, load("cpu"), tmp_path / "b.edgeflow", reference={})
    found = {graph.graph.partition(" of ")[2] for graph in check(open_bundle(made.path)).graphs}
    landscape, portrait = (
        {"144x144", "227x145", "512x72", "80x64", "624x352"},
        {"145x227", "72x512", "64x80", "352x624"},
    )
    assert found == landscape | portrait | {""}


@pytest.mark.slow
def test_pooling_into_windows_of_the_frames_size_is_right_at_every_size(tmp_path):
    """torch's exporter takes such windows from its own example frame."""

    def pooled(x):
        few = torch.nn.functional.adaptive_avg_pool2d(x, 5)
        return torch.nn.functional.interpolate(few, x.shape[2:])

    made = compile_model(Free(pooled).eval(), load("cpu"), tmp_path / "b.edgeflow", reference={})
    report = check(open_bundle(made.path))
    assert report.passed and len(report.graphs) > 5


def test_what_is_wrong_at_another_size_is_refused(tmp_path, monkeypatch):
    """As if the exporter had frozen the size of its own example frame."""
    from edgeflow.export.pack import bundle as packing

    made = packing.GoldenMaker.of

    def elsewhere(self, variant):
        arrays = made(self, variant)
        if self._now[0].shape[2:] == (145, 227):
            arrays["out.part.exact"] = arrays["out.part.exact"] + 0.25
        return arrays

    monkeypatch.setattr(packing.GoldenMaker, "of", elsewhere)
    with pytest.raises(
        ExportError, match=r"segment part, for frames of 227x145: onnxruntime .* off by 2.5e-01"
    ):
        compile_model(Free(lambda x: x * 2).eval(), load("cpu"), tmp_path / "b.edgeflow", reference={})


def test_a_model_that_cannot_take_a_size_says_which(tmp_path):
    def picky(x):
        return torch.nn.functional.pad(x, (70, 70, 0, 0), mode="reflect")[..., 70:-70]

    with pytest.raises(
        ExportError, match=r"segment part: (cannot run on frames of \d+x\d+|was traced for a frame's width)"
    ):
        compile_model(Free(picky).eval(), load("cpu"), tmp_path / "b.edgeflow", reference={})
