"""Is what an export wrote right? Every engine and whole frames are compared before the bundle takes its place.

The target's own engine library judges where it runs here, and ONNX Runtime in TensorRT's place at int8. What it refuses, or
computes otherwise than the model's own code, is refused with the segment's name, since a bundle that is wrong would be wrong
without a word.
"""

from __future__ import annotations

from typing import Any

import onnx

from edgeflow.export.plugins.bodies import runnable
from edgeflow.ir.bundle import Bundle
from edgeflow.ir.errors import BackendError, ExportError, PrecisionError
from edgeflow.ir.libraries import library as described
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.check import CheckReport, ClipCheck, check
from edgeflow.runtime.checking.engines import GraphCheck

_PLAIN = {
    "Conv",
    "Relu",
    "Add",
    "Mul",
    "Cast",
    "Transpose",
    "Clip",
    "Round",
    "Div",
    "Concat",
    "Constant",
    "Reshape",
}


def judge(bundle: Bundle) -> dict[str, Any]:
    """Compare a bundle's engines with the model's own code, by its target's library.

    Returns:
        For the manifest: the library and its version, and how far engines and frames may be trusted; or why
        nothing was compared here.

    Raises:
        ExportError: the library refuses a graph, or computes something else; names segments and operators.
    """
    library, precision = (bundle.manifest.target[key] for key in ("library", "precision"))
    own = described(library)
    if own.builds == "engines" and own.int8 and precision == "int8":
        return _judged_instead(bundle, library)
    if own.builds == "engines":
        return _built_elsewhere(library)
    try:
        open_backend(library)
    except BackendError as error:
        return {"compared": False, "why": str(error)}
    try:
        report = check(bundle)
    except PrecisionError as error:
        if precision == "bf16":  # which this processor lacks: others have it
            return {"compared": False, "why": str(error)}
        raise ExportError(_refused(bundle, error)) from error
    except BackendError as error:
        raise ExportError(_refused(bundle, error)) from error
    _refuse_wrong(bundle, report)
    return _verdict(report)


def _judged_instead(bundle: Bundle, library: str) -> dict[str, Any]:
    """The same graphs run by ONNX Runtime, which quantised them: what misses its gate there would miss it on the device."""
    try:
        with runnable(bundle) as copy:
            report = check(copy, library="onnxruntime")
    except BackendError:  # it lacks an operator at half precision, which says nothing of the device
        return _built_elsewhere(library)
    _refuse_wrong(bundle, report)
    return {**_verdict(report), "instead_of": library}


def _built_elsewhere(library: str) -> dict[str, Any]:
    return {
        "compared": False,
        "why": f"{library} builds engines on the device, where `edgeflow build` compares them",
    }


def _verdict(report: CheckReport) -> dict[str, Any]:
    moves = [graph.moved for graph in report.graphs if graph.moved is not None]
    return {
        "compared": True,
        "library": report.library,
        "version": report.version,
        "largest_error": max(graph.max_error for graph in report.graphs),
        "psnr_db": min(clip.psnr_db for clip in report.clips),
        "moves_by": max(moves, default=None),
    }


def _refused(bundle: Bundle, error: BackendError) -> str:
    """What the library refuses, with the segments of the graph that it names."""
    for entry in bundle.manifest.graphs.values():
        if entry.file.rsplit("/", 1)[-1].removesuffix(".onnx") in str(error):
            return f"segment {', '.join(entry.segments)}: {error}; {_CURE}"
    return f"{error}; {_CURE}"


_CURE = "write it in other operators, or export for another target (`edgeflow targets`)"


def _refuse_wrong(bundle: Bundle, report: CheckReport) -> None:
    wrong = [graph for graph in report.graphs if not graph.passed]
    if wrong:
        raise ExportError(_differs(bundle, report, wrong[0]))
    for clip in report.clips:
        if not clip.passed:
            raise ExportError(_frames_differ(report, clip))


def _differs(bundle: Bundle, report: CheckReport, graph: GraphCheck) -> str:
    entry = bundle.manifest.graphs[graph.graph.split(" ")[0]]
    kinds = {
        node.op_type for node in onnx.load(bundle.path / entry.file, load_external_data=False).graph.node
    }
    unusual = ", ".join(sorted(kinds - _PLAIN)) or "only common ones"
    far = (
        f"off by {graph.max_error:.1e} (at most {graph.allowed:.1e})"
        if graph.allowed is not None
        else f"{graph.sqnr_db:.1f} dB of signal to error (at least {graph.minimum_sqnr_db:.0f})"
    )
    size = graph.graph.partition(" of ")[2]
    at = f", for frames of {size}" if size else ""
    return (
        f"segment {', '.join(entry.segments)}{at}: {report.library} {report.version} computes something else than the model's "
        f"own code: {far}; operators that may be the cause: {unusual}; {_CURE}. --no-check writes the bundle all the same"
    )


def _frames_differ(report: CheckReport, clip: ClipCheck) -> str:
    return (
        f"whole {clip.frames} frames on {report.library} {report.version} differ from the model's own: PSNR "
        f"{clip.psnr_db:.1f} dB (at least {clip.minimum_psnr_db:.0f}), {clip.flips} of {clip.decisions} decisions differ, rounding by "
        f"{clip.rounding} levels, though every engine agrees: does the model keep what only Python sees, such as a counter? "
        "--no-check writes the bundle all the same"
    )
