"""A stage that is exactly one operator runs as a native kernel, with its graph as the fallback."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from edgeflow.export.compile import compile_model
from edgeflow.export.sample import moving_picture
from edgeflow.flow import Image, RoutedModule
from edgeflow.ir.bundle import Kernel, open_bundle
from edgeflow.ir.errors import BackendError
from edgeflow.ops.adabd import AdaBD
from edgeflow.ops.adacof import AdaCoF
from edgeflow.runtime import Session
from edgeflow.runtime.check import check
from edgeflow.runtime.kernels import open_kernel
from edgeflow.targets import load

HEIGHT, WIDTH = 24, 40


class Blender(RoutedModule):
    """Convolutions around an AdaBD, and no decision."""

    inputs = (Image("image", HEIGHT, WIDTH),)
    outputs = (Image("made"),)

    def __init__(self, channels=8):
        super().__init__()
        torch.manual_seed(4)
        self.split = (channels, channels, 18, 9)
        self.before = nn.Conv2d(3, sum(self.split), 3, padding=1)
        self.blend = AdaBD(channels)
        self.after = nn.Conv2d(channels, 3, 3, padding=1)

    def alignment(self, image):
        current, reference, offset, mask = self.before(image).split(self.split, 1)
        return current, reference, offset * 3, mask.sigmoid()

    def flow(self, f, image):
        return f.call(self.after, f.call(self.blend, *f.call(self.alignment, image)))


@pytest.fixture(scope="module")
def frames():
    return [moving_picture(HEIGHT, WIDTH, time) for time in range(4)]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A function from an engine library and compile options to a model's bundle."""
    folder = tmp_path_factory.mktemp("kernels")

    def make(target, name, channels=8, **options):
        path = folder / f"{target.name}-{name}.edgeflow"
        return compile_model(
            Blender(channels).eval(), target, path, reference={"model": "blender"}, **options
        )

    return make


def kernels(manifest):
    return [entry.kernel.name for entry in manifest.graphs.values() if entry.kernel]


@pytest.mark.parametrize("name", ["cpu", "openvino-cpu"])
def test_a_stage_of_one_operator_has_its_kernel(compiled, name):
    pytest.importorskip("numba")
    bundle = open_bundle(compiled(load(name), "chained", strategy="chained").path)
    assert kernels(bundle.manifest) == ["adabd"]
    assert check(bundle).passed
    session = Session(bundle)
    session.prepare(HEIGHT, WIDTH)
    engines = [type(loaded.engine).__name__ for loaded in session.executor.loaded.values()]
    assert engines.count("AdaBDEngine") == 1


def test_a_kernel_runs_one_frame_at_a_time(compiled):
    pytest.importorskip("numba")
    session = Session(compiled(load("openvino-cpu"), "chained", strategy="chained").path, in_flight=2)
    with pytest.raises(
        BackendError, match="native kernel, which runs one frame at a time: leave in_flight at 1"
    ):
        session.prepare(HEIGHT, WIDTH)


def test_inside_a_larger_stage_it_is_its_graph(compiled):
    bundle = open_bundle(compiled(load("cpu"), "routes", strategy="routes").path)
    assert not kernels(bundle.manifest)
    assert check(bundle).passed


class Sampler(RoutedModule):
    """AdaCoF makes the picture; or reads it, too, where it comes as bytes."""

    inputs = (Image("image", HEIGHT, WIDTH),)
    outputs = (Image("made"),)

    def __init__(self, reads):
        super().__init__()
        torch.manual_seed(4)
        self.reads, self.layers, self.adacof = reads, nn.Conv2d(3, 27, 3, padding=1), AdaCoF()

    def kernels(self, image):
        made = self.layers(image).chunk(3, 1)
        return made if self.reads else (image, *made)

    def flow(self, f, image):
        kernels = f.call(self.kernels, image)
        return f.call(self.adacof, image, *kernels) if self.reads else f.call(self.adacof, *kernels)


@pytest.mark.parametrize("reads", [False, True])
def test_one_that_reads_or_makes_pictures_is_its_graph(reads, tmp_path):
    model = Sampler(reads).eval()
    bundle = open_bundle(
        compile_model(model, load("cpu"), tmp_path / "made", reference={}, strategy="chained").path
    )
    assert not kernels(bundle.manifest)
    assert check(bundle).passed


def test_the_planner_keeps_a_large_one_apart_without_measurements(compiled):
    assert kernels(compiled(load("cpu"), "large", channels=64).manifest) == ["adabd"]
    assert not kernels(compiled(load("cpu"), "small").manifest)  # two launches more would cost more


@pytest.mark.slow
def test_the_planner_takes_what_was_timed_fastest(compiled, frames, monkeypatch):
    pytest.importorskip("numba")
    prices = {"AdaBDEngine": 9.0}

    def measured(engine, memory, inputs, outputs, batches):
        return {batch: prices.get(type(engine).__name__, 5.0) * batch for batch in batches}

    monkeypatch.setattr("edgeflow.export.planning.prices.measure", measured)
    assert not kernels(compiled(load("cpu"), "slower", frames=frames).manifest)
    assert not kernels(compiled(load("cpu"), "slower-apart", frames=frames, strategy="chained").manifest)
    assert kernels(compiled(load("cpu"), "untimed", strategy="chained").manifest) == ["adabd"]
    prices["AdaBDEngine"] = 0.1
    monkeypatch.setattr("edgeflow.export.planning.prices.Pricer._measured", in_turn(9.0))
    assert kernels(compiled(load("cpu"), "faster", frames=frames).manifest) == ["adabd"]


def in_turn(slow):
    """Prices by which whatever holds an AdaBD in a graph is slow."""

    def measured(pricer, load, variant, batches=()):
        has = any(link.call.segment == "blend" for link in variant.links)
        native = type(load(1)).__name__ == "AdaBDEngine"
        return {1: slow * (1 + len(variant.links)) if has and not native else 1.0}

    return measured


def test_without_numba_the_graph_runs(compiled, frames, tmp_path):
    path = compiled(load("cpu"), "bare", strategy="chained").path
    with_kernel = Session(path)(frames[0])
    np.save(tmp_path / "frame.npy", frames[0])
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import numpy as np; from edgeflow.runtime import Session\n"
        f"session = Session({str(path)!r}); made = session(np.load({str(tmp_path / 'frame.npy')!r}))\n"
        "kinds = {type(loaded.engine).__name__ for loaded in session.executor.loaded.values()}\n"
        "assert kinds == {'OnnxRuntimeEngine'}, kinds\n"
        f"np.save({str(tmp_path / 'made.npy')!r}, made)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert np.abs(np.load(tmp_path / "made.npy").astype(int) - with_kernel).max() <= 1


def test_lower_precisions_leave_it_at_fp32(compiled, frames):
    int8 = compiled(load("cpu").at("int8"), "int8", strategy="chained", frames=frames)
    bf16 = compiled(load("openvino-cpu").at("bf16"), "bf16", strategy="chained")
    for manifest in (int8.manifest, bf16.manifest):
        (entry,) = (entry for entry in manifest.graphs.values() if entry.kernel)
        assert (entry.precision, entry.note) == ("fp32", "runs as a native kernel, which computes in fp32")
    weight = Blender().blend.weight.detach().numpy()
    (entry,) = (entry for entry in int8.manifest.graphs.values() if entry.kernel)
    np.testing.assert_array_equal(entry.kernel.read(int8.path / "graphs/weights.bin")["weight"], weight)


def test_a_kernel_of_a_newer_edgeflow_is_left_to_its_graph(tmp_path):
    assert open_kernel(Kernel("from-the-future", ()), tmp_path / "weights.bin", 1) is None


def test_the_standard_form_has_no_deform_conv(compiled, frames):
    import onnx

    made = compiled(load("cpu").with_operators("standard"), "standard", strategy="routes")
    files = [made.path / entry.file for entry in made.manifest.graphs.values()]
    nodes = {node.op_type for file in files for node in onnx.load(file, load_external_data=False).graph.node}
    assert "GridSample" in nodes and "DeformConv" not in nodes
    assert check(open_bundle(made.path)).passed
