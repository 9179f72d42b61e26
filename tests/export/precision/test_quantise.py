"""int8 bundles: what is quantised, with what it is calibrated, and what stays fp32."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise

import numpy as np
import onnx
import pytest
import torch
from film_models import any_time
from kept_bundles import compile_kept
from plugin_model import DeformingPicture
from routed_models import small
from torch import nn
from uneven_model import Uneven as OneUneven

from edgeflow.export.compile import compile_model
from edgeflow.export.plugins.bodies import runnable
from edgeflow.export.precision.calibrate import watch
from edgeflow.export.sample import moving_picture
from edgeflow.flow import Axis, Image, RoutedModule, Tensor
from edgeflow.ir.bundle import WEIGHTS
from edgeflow.ir.errors import ExportError
from edgeflow.ir.sqnr import sqnr_db
from edgeflow.runtime import Fixed, Session, open_bundle
from edgeflow.runtime.check import check
from edgeflow.targets import load

pytestmark = pytest.mark.slow

INT8 = load("cpu").at("int8")
STRATEGIES = ("chained", "routes")


def operators(bundle, name):
    return [node.op_type for node in onnx.load(bundle.path / bundle.manifest.graphs[name].file).graph.node]


@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
def test_an_int8_bundle_passes_its_check_on_both_libraries(tiny_int8, library):
    report = check(open_bundle(tiny_int8["chained"].path), library=library)
    assert report.passed and report.precision == "int8"
    below = [graph for graph in report.graphs if graph.precision == "int8"]
    assert len(below) >= 20
    assert all(graph.max_error > 1e-4 and graph.allowed is None for graph in below)  # it is no fp32 engine


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_engine_but_the_router_is_quantised(tiny_int8, strategy):
    bundle = open_bundle(tiny_int8[strategy].path)
    assert bundle.manifest.target["precision"] == "int8"
    deciding = set().union(*(plan.deciding for plan in bundle.manifest.plans.values()))
    assert len(deciding) == 2  # landscape and portrait
    for name, entry in bundle.manifest.graphs.items():
        assert entry.precision == ("fp32" if name in deciding else "int8")
        assert ("QuantizeLinear" in operators(bundle, name)) == (entry.precision == "int8")
        assert entry.sqnr_db is None if name in deciding else entry.sqnr_db >= 20
        assert entry.note.startswith("decides routes") == (name in deciding)
        model = onnx.load(bundle.path / entry.file)
        assert {o.domain: o.version for o in model.opset_import}[""] == 19


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_graphs_keep_their_interfaces_and_ids(tiny_int8, tiny_bundles, strategy):
    for kind, plan in tiny_bundles[strategy].manifest.plans.items():
        int8 = tiny_int8[strategy].manifest.plans[kind]
        for ours, theirs in zip(int8.stages, plan.stages, strict=True):
            assert [(g.select, g.inputs, g.outputs, g.exact) for g in ours.graphs] == (
                [(g.select, g.inputs, g.outputs, g.exact) for g in theirs.graphs]
            )


def test_int8_weights_are_small_and_shared_by_routes(tiny_int8, tiny_bundles):
    sizes = {s: tiny_int8[s].unique_weight_bytes for s in STRATEGIES}
    assert sizes["chained"] < 0.5 * tiny_bundles["chained"].unique_weight_bytes
    assert sizes["routes"] <= sizes["chained"]
    data = (tiny_int8["routes"].path / WEIGHTS).read_bytes()
    places = {
        (int(facts["offset"]), int(facts["length"]))
        for graph in tiny_int8["routes"].path.glob("graphs/*.onnx")
        for tensor in onnx.load(graph, load_external_data=False).graph.initializer
        if (facts := {entry.key: entry.value for entry in tensor.external_data})
    }
    contents = [data[offset : offset + length] for offset, length in places]
    assert len(set(contents)) == len(contents)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_engines_that_the_clip_never_reaches_are_overruled_and_noted(tiny_int8, int8_clip, strategy):
    session = Session(tiny_int8[strategy].path)
    reached = {e.graph for pair in pairwise(int8_clip) for e in session.run(*pair).trace.engines}
    graphs = tiny_int8[strategy].manifest.graphs
    noted = {name for name, entry in graphs.items() if "overruling" in entry.note}
    assert noted == {name for name, entry in graphs.items() if entry.precision == "int8"} - reached
    assert noted or strategy == "chained"


def test_an_engine_is_calibrated_with_the_regions_of_its_own_route(small_bundle):
    _, compiled = small_bundle("Levels", "chained")
    bundle = open_bundle(compiled.path)
    frames = [moving_picture(50, 70, time) for time in range(3)]
    stage = bundle.manifest.plans["landscape"].stages[-1]
    seen = watch(bundle, frames, {graph.graph for graph in stage.graphs})
    session = Session(bundle)
    session.prepare(50, 70)
    (grid,) = session.executor._grids.values()
    own = {graph.graph: set() for graph in stage.graphs}
    for frame in frames:
        levels = session.run(frame).trace.choices["level"]
        tiles = np.empty((len(grid), grid.size, grid.size, 3), np.uint8)
        grid.cut(frame, np.arange(len(grid)), tiles)
        for graph in stage.graphs:
            own[graph.graph] |= {
                tile.tobytes()
                for tile, level in zip(tiles, levels, strict=True)
                if graph.select.holds({"level": level})
            }
    assert all(own.values())
    for name, found in seen.items():
        assert not found.forced and 0 < len(found.rows) <= 16
        assert {row[0].tobytes() for row in found.rows} <= own[name]


class Uneven(RoutedModule):
    """One convolution whose channels differ a million times in size, which 8 bits cannot hold."""

    inputs = (Image("frame", 16, 24),)
    outputs = (Tensor("features", (4, 16, 24)),)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.even = nn.Conv2d(3, 4, 3, 1, 1)
        self.uneven = nn.Conv2d(4, 4, 3, 1, 1)
        self.register_buffer("sizes", torch.tensor([1e6, 1.0, 1.0, 1.0]).reshape(1, 4, 1, 1))
        self.uneven.weight.data *= self.sizes.reshape(4, 1, 1, 1)

    def flow(self, f, frame):
        return f.call(self.level, f.call(self.even, frame))

    def level(self, x: torch.Tensor) -> torch.Tensor:
        return self.uneven(x) / self.sizes


def test_an_engine_that_8_bits_would_spoil_stays_fp32_and_says_so(tmp_path):
    frames = [moving_picture(16, 24, time) for time in range(4)]
    made = compile_kept(
        Uneven().eval(), INT8, tmp_path / "u.edgeflow", reference={}, strategy="chained", frames=frames
    )
    by_segment = {entry.segments[0]: entry for entry in made.manifest.graphs.values()}
    kept = by_segment["level"]
    assert by_segment["even"].precision == "int8" and not by_segment["even"].note
    assert kept.precision == "fp32" and kept.sqnr_db < 20
    assert kept.note == f"int8 would reach {kept.sqnr_db:.1f} dB of signal to error, 20 dB are asked for"
    bundle = open_bundle(made.path)
    (name,) = (
        n for n, entry in bundle.manifest.graphs.items() if entry is not None and n.startswith("level")
    )
    assert "QuantizeLinear" not in operators(bundle, name)


@pytest.mark.parametrize("target", ["cpu", "openvino-cpu", "jetson-orin"])
def test_a_layer_that_loses_too_much_stays_in_float_alone(tmp_path, target):
    frames = [moving_picture(16, 24, time) for time in range(4)]
    made = compile_kept(
        OneUneven().eval(), load(target).at("int8"), tmp_path / "u.edgeflow", reference={}, frames=frames
    )
    bundle = open_bundle(made.path)
    (entry,) = bundle.manifest.graphs.values()
    (kept,) = entry.float_layers
    assert kept.startswith("level/uneven/Conv_")
    assert entry.precision == "int8" and entry.sqnr_db > 20
    assert re.match(r"int8 in every layer would reach 1\d\.\d dB .*, 20 dB are asked for$", entry.note)
    graph = onnx.load(bundle.path / entry.file).graph
    weights = {
        n.name: n.input[1].endswith("DequantizeLinear_Output") for n in graph.node if n.op_type == "Conv"
    }
    assert weights == {layer: layer != kept for layer in weights} and len(weights) == 5
    (checked,) = check(bundle, library="openvino" if target == "openvino-cpu" else "onnxruntime").graphs
    assert checked.passed and checked.float_layers == (kept,)


def test_plugin_nodes_are_quantised_around_as_their_standard_form_is(tmp_path):
    torch.manual_seed(0)
    model = DeformingPicture().eval()
    frames = [moving_picture(16, 24, time) for time in range(4)]
    made = {}
    for form in ("plugin", "standard"):
        target = load("jetson-orin").at("int8").with_operators(form)
        written = compile_kept(model, target, tmp_path / form, reference={}, frames=frames)
        with runnable(open_bundle(written.path)) as copy:
            assert all(graph.passed for graph in check(copy, library="onnxruntime").graphs)
            session = Session(copy, library="onnxruntime")
            outputs = np.stack([session(frame) for frame in frames])
        (entry,) = written.manifest.graphs.values()
        assert entry.precision == "int8" and not entry.float_layers
        made[form] = entry, outputs
    (plugin, ours), (standard, theirs) = made["plugin"], made["standard"]
    assert plugin.plugins == ("EdgeflowAdaBD", "EdgeflowCostVolume", "EdgeflowDeformConv2d")
    assert not standard.plugins
    assert abs(plugin.sqnr_db - standard.sqnr_db) < 1
    assert sqnr_db([(ours, theirs)]) > 40


def test_an_engine_that_reads_a_state_holds_from_the_first_frame_on(tmp_path):
    frames = [moving_picture(60, 70, time) for time in range(5)]
    made = compile_kept(small("Shortcut"), INT8, tmp_path / "s.edgeflow", reference={}, frames=frames)
    assert {entry.precision for entry in made.manifest.graphs.values()} == {"int8"}
    assert check(open_bundle(made.path)).passed


def test_a_model_that_takes_a_time_is_calibrated_where_its_pictures_mostly_stand(tmp_path):
    frames = [moving_picture(60, 70, time) for time in range(5)]
    made = compile_kept(any_time(), INT8, tmp_path / "a.edgeflow", reference={}, frames=frames)
    assert "int8" in {entry.precision for entry in made.manifest.graphs.values()}
    assert check(open_bundle(made.path)).passed


def test_int8_without_a_clip_is_refused_before_any_file(tmp_path):
    with pytest.raises(ExportError, match=r"int8 is calibrated with frames .*: give a video with --clip"):
        compile_model(small("Levels"), INT8, tmp_path / "l.edgeflow", reference={})
    assert list(tmp_path.iterdir()) == []


def test_int8_of_a_model_that_takes_no_image_is_refused(tmp_path):
    frames = [moving_picture(16, 24, 0)]
    with pytest.raises(ExportError, match="the input clip is no image: export at fp32"):
        compile_model(small("Frames"), INT8, tmp_path / "f.edgeflow", reference={}, frames=frames)
    assert not (tmp_path / "f.edgeflow").exists()


def test_int8_with_a_clip_that_is_too_small(tmp_path):
    frames = [moving_picture(8, 24, 0)]
    with pytest.raises(ExportError, match=r"1 frames of 24x8, and int8 is .* 1 or more of at least 24x16"):
        compile_model(
            Uneven().eval(), INT8, tmp_path / "u.edgeflow", reference={}, strategy="chained", frames=frames
        )


def test_a_clip_smaller_than_the_frames_is_refused_before_any_graph_is_made(tmp_path):
    frames = [moving_picture(60, 70, time) for time in range(5)]
    said = []
    with pytest.raises(
        ExportError, match=r"gave 5 frames of 70x60, and int8 .* at least 96x64: give a larger one"
    ):
        compile_model(
            any_time(),
            INT8,
            tmp_path / "a.edgeflow",
            reference={},
            sizes=[(64, 96)],
            frames=frames,
            progress=lambda *told: said.append(told),
        )
    assert not said and not list(tmp_path.iterdir())


def test_quantising_needs_no_session_before_it(tmp_path):
    """Whoever opens the first session of a process prepares what all share."""
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    made = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([node], "g", [value], [made])
    opset = [onnx.helper.make_opsetid("", 19)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "graph.onnx")
    code = "import sys\nfrom edgeflow.export.precision.qdq import guest_session\nprint(guest_session(sys.argv[1]).get_providers())"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "graph.onnx")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0 and "CPUExecutionProvider" in done.stdout, done.stderr


def test_int8_without_its_quantiser_names_the_extra(tmp_path, monkeypatch):
    for name in ("quantise", "qdq"):
        monkeypatch.delitem(sys.modules, f"edgeflow.export.precision.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as Python marks a module that cannot be imported
    with pytest.raises(ExportError, match=r'int8 needs onnxruntime: pip install -e "\.\[onnxruntime\]"'):
        compile_model(
            small("Levels"), INT8, tmp_path / "l.edgeflow", reference={}, frames=[moving_picture(16, 24, 0)]
        )
    assert list(tmp_path.iterdir()) == []


def test_tensorrt_gets_symmetric_int8_beside_half(export_tiny, int8_clip):
    what = {"strategy": "chained", "frames": int8_clip, "sizes": [(200, 310)]}
    compiled = export_tiny("trt-int8", load("desktop-gpu").at("int8"), **what)
    bundle = open_bundle(compiled.path)
    support = bundle.manifest.provenance["support"]
    assert support["operators"]["QuantizeLinear"] and not [gap for gap in support["gaps"] if gap["fatal"]]
    quantised = [e for e in bundle.manifest.graphs.values() if e.precision == "int8"]
    assert len(quantised) >= 15
    for entry in quantised:
        graph = onnx.shape_inference.infer_shapes(onnx.load(bundle.path / entry.file)).graph
        types = {info.name: info.type.tensor_type.elem_type for info in graph.value_info}
        convs = [node for node in graph.node if node.op_type == "Conv" and node.input[0] in types]
        assert {types[node.input[0]] for node in convs} == {onnx.TensorProto.FLOAT16}
    with runnable(bundle) as copy:
        report = check(copy, library="onnxruntime")
    assert all(graph.passed for graph in report.graphs)
    assert all(clip.flips == 0 and clip.psnr_db > 35 for clip in report.clips)


class Sides(RoutedModule):
    """Dim tiles take level 1 and bright ones level 2; each has a convolution of its own."""

    inputs = (Image("frame", 32, 64),)
    outputs = (Image("picture"),)
    level = Axis(1, 2)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.paints = nn.ModuleList([nn.Conv2d(3, 3, 3, 1, 1), nn.Conv2d(3, 3, 3, 1, 1)])
        for paint in self.paints:
            nn.init.uniform_(paint.weight, 0.0, 0.07)

    def flow(self, f, frame):
        scores = f.call(self.look, frame)
        tiles = f.tile(frame, size=20, halo=2)
        route = f.route(tiles, level=scores)
        return f.stitch(f.call(self.draw, tiles, level=route.level))

    def look(self, frame: torch.Tensor) -> torch.Tensor:
        grey = frame.mean(1, keepdim=True)
        return torch.cat([0.5 - grey, grey - 0.5], 1)

    def draw(self, tiles: torch.Tensor, level: int) -> torch.Tensor:
        return self.paints[level - 1](tiles)


def test_an_engine_holds_for_regions_that_the_model_sends_elsewhere(tmp_path):
    """Other policies send them, and golden vectors are of any region."""
    draw = np.random.default_rng(0)
    frames = [draw.integers(30, 60, (32, 64, 3), dtype=np.uint8) for _ in range(4)]
    for frame in frames:
        frame[:, :28] += 180  # no dim tile sees a bright pixel in its halo
    path = tmp_path / "sides.edgeflow"
    compile_kept(Sides().eval(), INT8, path, reference={}, strategy="chained", frames=frames)
    dim, bright = (
        Session(path, policy=Fixed(level=level), exact=True).run(frames[0]).outputs[0] for level in (1, 2)
    )
    exact = tmp_path / "exact.edgeflow"
    compile_kept(Sides().eval(), load("cpu"), exact, reference={}, strategy="chained", frames=frames)
    for level, made in ((1, dim), (2, bright)):
        wanted = Session(exact, policy=Fixed(level=level), exact=True).run(frames[0]).outputs[0]
        assert 25 < sqnr_db([(made, wanted)]) < 80
