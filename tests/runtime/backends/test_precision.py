"""Engines run at the precision that was asked for, or not at all."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from openvino_here import HAS_BF16

from edgeflow.export.sample import moving_picture
from edgeflow.ir.errors import BackendError
from edgeflow.ir.sqnr import sqnr_db
from edgeflow.runtime import Session, open_bundle
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.check import GATES, ClipCheck, GraphCheck, check
from edgeflow.targets import load

FRAMES = [moving_picture(131, 200, time) for time in range(3)]


@pytest.fixture(scope="session")
def tiny_bf16(export_tiny):
    """The one that test_openvino_store.py has, too."""
    target = replace(load("openvino-cpu"), batches=(1, 2)).at("bf16")
    return export_tiny("bf16", target, strategy="chained")


def layer_precisions(session):
    session.prepare(131, 200)
    loaded = session.executor.loaded.values()
    return {graph.graph.graph: graph.engine.layer_precisions for graph in loaded}


@pytest.mark.slow
@pytest.mark.skipif(not HAS_BF16, reason="this CPU has no bf16")
def test_bf16_is_what_runs_but_for_the_router(tiny_bf16):
    found = layer_precisions(Session(tiny_bf16.path))
    deciding = tiny_bf16.manifest.plans["landscape"].deciding
    assert len(deciding) == 1 and len(found) > 10
    for name, layers in found.items():
        assert layers == ({"f32"} if name in deciding else {"bf16"})
        assert tiny_bf16.manifest.graphs[name].precision == ("fp32" if name in deciding else "bf16")


@pytest.mark.slow
@pytest.mark.skipif(not HAS_BF16, reason="this CPU has no bf16")
def test_bf16_differs_from_fp32_but_passes_its_check(tiny_bf16, tiny_bundles):
    below = Session(tiny_bf16.path, exact=True)
    exact = Session(tiny_bundles["chained"].path, library="openvino", exact=True)
    for pair in pairwise(FRAMES):
        ours, theirs = below.run(*pair), exact.run(*pair)
        assert 1e-4 < np.abs(ours.outputs[0] - theirs.outputs[0]).max() < 0.05
        assert ours.trace.choices == theirs.trace.choices
    report = check(open_bundle(tiny_bf16.path))
    assert report.passed and report.precision == "bf16"
    assert all(clip.flips == 0 and 50 <= clip.psnr_db < 100 for clip in report.clips)


@pytest.mark.skipif(HAS_BF16, reason="this CPU has bf16")
def test_bf16_on_a_cpu_without_it_is_refused(tiny_bf16):
    with pytest.raises(BackendError, match="instead of bf16"):
        Session(tiny_bf16.path)(*FRAMES[:2])


def test_onnx_runtime_refuses_bf16(tiny_bf16):
    with pytest.raises(BackendError, match=r"cannot run head.* at bf16: run the bundle with openvino"):
        Session(tiny_bf16.path, library="onnxruntime")(*FRAMES[:2])


@pytest.mark.slow
def test_int8_is_what_runs_but_for_the_router(tiny_int8):
    found = layer_precisions(Session(tiny_int8["chained"].path, library="openvino"))
    deciding = tiny_int8["chained"].manifest.plans["landscape"].deciding
    for name, layers in found.items():
        assert layers == {"f32"} if name in deciding else layers & {"u8", "i8"}


def test_a_graph_that_comes_out_at_another_precision_is_refused(tiny_bundles):
    bundle = open_bundle(tiny_bundles["chained"].path)
    graph = next(g for s in bundle.manifest.plans["landscape"].stages for g in s.graphs if s.name == "head")
    path = bundle.path / bundle.manifest.graphs[graph.graph].file
    with pytest.raises(BackendError, match=f"built {path.name} at f32 instead of int8"):
        open_backend("openvino").load(path, graph.inputs, graph.outputs, {}, "int8")


@pytest.mark.parametrize(
    ("precision", "psnr", "flips", "rounding", "passed"),
    [
        ("fp32", 70, 0, 1, True),
        ("fp32", 69.9, 0, 1, False),
        ("fp32", 150, 1, 1, False),
        ("fp32", 150, 0, 2, False),
        ("bf16", 50, 2, 9, True),
        ("bf16", 49.9, 0, 0, False),
        ("int8", 40, 2, 40, True),
        ("int8", 40, 3, 0, False),
        ("int8", 39.9, 0, 0, False),
        ("int8", float("nan"), 0, 0, False),
    ],
)
def test_whole_frames_are_held_to_the_precision_of_the_bundle(precision, psnr, flips, rounding, passed):
    assert ClipCheck("any", 3, psnr, flips, 200, rounding, GATES[precision]).passed == passed


@pytest.mark.parametrize(
    ("error", "allowed", "sqnr", "minimum", "passed"),
    [
        (1e-4, 1e-4, 10, None, True),
        (2e-4, 1e-4, 90, None, False),
        (float("nan"), 1e-4, 90, None, False),
        (3, None, 15, 15, True),
        (0, None, 14.9, 15, False),
        (0, None, float("nan"), 15, False),
    ],
)
def test_engines_are_held_to_their_own_precision(error, allowed, sqnr, minimum, passed):
    assert GraphCheck("head", "", error, allowed, sqnr, minimum).passed == passed


def test_signal_to_error(random):
    signal = random.standard_normal(10000)
    noise = random.standard_normal(10000)
    assert sqnr_db([(signal + 0.1 * noise, signal)]) == pytest.approx(20, abs=0.2)
    assert sqnr_db([(signal, signal)]) > 200
    assert np.isnan(sqnr_db([(signal * np.nan, signal)]))
