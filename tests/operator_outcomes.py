"""What becomes of a small function as a segment: right, refused, or wrong, by each library against eager."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnxruntime as ort
import openvino as ov
import torch
from torch import nn

from edgeflow.export.lowering.segment import to_onnx
from edgeflow.export.passes import run_passes
from edgeflow.ir.errors import EdgeflowError
from edgeflow.targets import load

LIBRARIES = ("onnxruntime", "openvino")
TARGETS = {"onnxruntime": "cpu", "openvino": "openvino-cpu"}
RIGHT, REFUSED, LIBRARY, WRONG, RAW = "right", "refused", "refused by the library", "wrong", "raw"
FAR = 1e-3


@dataclass(frozen=True)
class Outcome:
    """Of one case by one library: `kind` is one of those above, `why` says more where it is not right."""

    kind: str
    why: str = ""


class Segment(nn.Module):
    """Tensors in, tensors out."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        made = self.function(*tensors)
        return tuple(made) if isinstance(made, (tuple, list)) else (made,)


def outcomes(
    segment: nn.Module,
    tensors: Sequence[torch.Tensor],
    dynamic: Sequence[dict[int, Any]] | None = None,
    others: Sequence[Sequence[torch.Tensor]] = (),
    libraries: Sequence[str] = LIBRARIES,
) -> dict[str, Outcome]:
    """Lower a segment as an export does, and run it by each library.

    Args:
        segment: tensors in, a tuple of tensors out.
        tensors: inputs to export and to compare with.
        dynamic: per input its symbolic dimensions.
        others: more inputs to compare with, of other sizes.
        libraries: to run it by.
    """
    with torch.no_grad():
        wanted = segment(*[t.clone() for t in tensors])
    names = [f"out.{i}" for i in range(len(wanted))]
    try:
        lowered = to_onnx(
            segment, [t.clone() for t in tensors], dynamic or [{} for _ in tensors], names, "segment"
        )
    except EdgeflowError as error:
        return dict.fromkeys(libraries, Outcome(REFUSED, str(error)))
    except Exception as error:
        return dict.fromkeys(libraries, Outcome(RAW, f"{type(error).__name__}: {str(error)[:200]}"))
    found = {}
    for library in libraries:
        try:
            model = run_passes(lowered, load(TARGETS[library]).rewrites, "segment").SerializeToString()
            run = RUN[library](model)
        except Exception as error:
            found[library] = Outcome(LIBRARY, str(error).replace("\n", " ")[:200])
            continue
        found[library] = _compared(segment, run, [tensors, *others])
    return found


def _compared(
    segment: nn.Module, run: Callable[..., Any], inputs: Sequence[Sequence[torch.Tensor]]
) -> Outcome:
    for tensors in inputs:
        with torch.no_grad():
            wanted = segment(*[t.clone() for t in tensors])
        try:
            made = run({f"in.{i}": t.numpy() for i, t in enumerate(tensors)})
        except Exception as error:
            return Outcome(LIBRARY, str(error).replace("\n", " ")[:200])
        if why := difference(wanted, made):
            return Outcome(WRONG, why)
    return Outcome(RIGHT)


def difference(wanted: Sequence[torch.Tensor], made: Sequence[Any]) -> str:
    """How outputs differ; empty if they do not, beyond rounding."""
    if len(wanted) != len(made):
        return f"{len(made)} outputs for {len(wanted)}"
    for index, (want, got) in enumerate(zip(wanted, made, strict=True)):
        want = torch.view_as_real(want.resolve_conj()) if want.is_complex() else want  # a graph carries pairs
        want = want.float() if want.dtype == torch.bfloat16 else want  # which numpy lacks
        if tuple(want.shape) != tuple(got.shape):
            return f"out.{index}: shape {tuple(got.shape)} for {tuple(want.shape)}"
        w, g = want.numpy().astype(np.float64), np.asarray(got).astype(np.float64)
        if (np.isnan(w) != np.isnan(g)).any() or (np.isinf(w) != np.isinf(g)).any():
            return f"out.{index}: another place of NaN or infinity"
        fine = np.isfinite(w)
        if fine.any():
            off = float(np.abs(w[fine] - g[fine]).max() / max(1e-6, np.abs(w[fine]).max()))
            if off > FAR:
                return f"out.{index}: off by {off:.2g} of the largest value"
    return ""


def _by_onnxruntime(model: bytes) -> Callable[..., Any]:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    known = {i.name for i in session.get_inputs()}
    return lambda feeds: session.run(None, {k: v for k, v in feeds.items() if k in known})


@cache
def _core() -> ov.Core:
    return ov.Core()


def _by_openvino(model: bytes) -> Callable[..., Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        compiled = _core().compile_model(_core().read_model(model), "CPU", settings)
    known = {name for port in compiled.inputs for name in port.names}

    def run(feeds: dict[str, Any]) -> list[Any]:
        made = compiled({k: v for k, v in feeds.items() if k in known})
        return [made[i] for i in range(len(compiled.outputs))]

    return run


RUN = {"onnxruntime": _by_onnxruntime, "openvino": _by_openvino}
