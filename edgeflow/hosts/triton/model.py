"""The class that Triton's Python backend runs."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as backend

from edgeflow.hosts.film_stream import Picture
from edgeflow.hosts.triton.repository import IDLE_SECONDS
from edgeflow.hosts.triton.streams import Asked, Streams
from edgeflow.ir.bundle import open_bundle
from edgeflow.ir.errors import EdgeflowError


class TritonPythonModel:
    """Serves streams of frames: every request is a frame of the sequence that its number names."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the bundle that lies beside the model's file.

        Raises:
            EdgeflowError: it cannot be opened, or a parameter asks for what its model does not make.
        """
        given = {
            name: value["string_value"]
            for name, value in json.loads(args["model_config"])["parameters"].items()
        }
        at_a_time = int(given.get("at_a_time") or 1)
        self._streams = Streams(
            open_bundle(Path(args["model_repository"]) / args["model_version"] / "bundle"),
            times=int(given["times"]) if given.get("times") else None,
            fps=Fraction(given["fps"]) if given.get("fps") else None,
            threads=int(given["threads"]) if given.get("threads") else None,
            at_a_time=at_a_time,
            idle=IDLE_SECONDS,
        )
        self._pool = ThreadPoolExecutor(at_a_time, "edgeflow-triton")

    def execute(self, requests: list[Any]) -> list[Any]:
        """A response for every request; one that fails takes no other along. They are of different streams."""
        self._streams.forget_idle()
        return list(self._pool.map(self._answer, requests))

    def finalize(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown()

    def _answer(self, request: Any) -> Any:
        try:
            return _response(self._streams.answer(_asked(request)))
        except EdgeflowError as error:
            return backend.InferenceResponse([], backend.TritonError(str(error)))


def _asked(request: Any) -> Asked:
    named = {
        name: backend.get_input_tensor_by_name(request, name)
        for name in ("FRAME", "TIME", "START", "END", "STREAM")
    }
    value = {name: _array(tensor) for name, tensor in named.items() if tensor is not None}
    when = float(value["TIME"].ravel()[0]) if "TIME" in value else None
    start, end = (bool(value[name].ravel()[0]) for name in ("START", "END"))
    frame = np.array(value["FRAME"][0])  # windows hold frames longer than the request
    return Asked(int(value["STREAM"].ravel()[0]), frame, when, start, end)


def _response(pictures: list[Picture]) -> Any:
    pixels = np.stack([each.pixels for each in pictures]) if pictures else np.zeros((0, 0, 0, 3), np.uint8)
    times = np.array([float(each.time) for each in pictures], np.float64)
    return backend.InferenceResponse([_tensor("PICTURES", pixels[None]), _tensor("TIMES", times[None])])


# Backends that were built for NumPy 1 misread arrays of NumPy 2, and the other way round: those go by DLPack.
_BY_DLPACK = np.lib.NumpyVersion(np.__version__) >= "2.0.0"


def _array(tensor: Any) -> Any:
    """A request's tensor."""
    return np.from_dlpack(tensor) if _BY_DLPACK else tensor.as_numpy()


def _tensor(name: str, array: Any) -> Any:
    """A response's tensor."""
    if array.size and _BY_DLPACK:
        return backend.Tensor.from_dlpack(name, array)
    return backend.Tensor(name, array)
