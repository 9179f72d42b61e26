"""The engine libraries: one descriptor each, which every part of edgeflow reads.

A library of your own is a `Library` in your package, named by an entry point of the group `edgeflow.libraries`
(`edgeflow.ir.extensions`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from edgeflow.ir.errors import BackendError
from edgeflow.ir.extensions import extensions
from edgeflow.ir.installing import with_extras


@dataclass(frozen=True)
class Int8:
    """How a library wants graphs quantised.

    Attributes:
        judge: name of the library that judges quantised engines where bundles are made; its own, if that can be here.
        signed: activations are int8 without zero points, not uint8 with one.
        bias: biases are quantised.
        moving: operators that only move values are quantised next to quantised layers.
        pairs_fit: sums of two products must fit 16 bits, for processors without VNNI.
    """

    judge: str
    signed: bool = False
    bias: bool = True
    moving: bool = True
    pairs_fit: bool = True


@dataclass(frozen=True)
class Library:
    """An engine library, with the device it runs engines on if that is not the processor.

    Attributes:
        name: as targets call it.
        packages: installed packages that bring it; the first found counts.
        install: how to get it, for people.
        backend: `module:Class` of its `edgeflow.runtime.backends.Backend`; empty if bundles do not run by it.
        lacking: `module:function` that says in words what its device lacks here, or nothing; empty if it lacks nothing.
        on_processor: engines run on the processor itself: native kernels may take their place, and instruction sets matter.
        concurrent: it runs several frames at a time: its engines are `SharedEngine`.
        one_arena: its engines, of which one runs at a time, share the memory of what lies between their layers.
        plugins: it runs edgeflow's plugin operators.
        bodies: plugin operators whose bodies in standard operators it runs too; None for all.
        builds: what `edgeflow build` makes: `engines`, which are made on the device alone, or `models`, so that
            sessions load sooner; empty if there is nothing to build.
        build_seconds: per operator and static shape that a build takes, roughly; not measured.
        types_bf16: graphs are typed in bfloat16; other libraries compute fp32 graphs in it.
        vetted: releases' operators and faults are listed (`targets/tensorrt_rules`), and exports are checked against them.
        int8: how graphs are quantised; None if they can't be.
    """

    name: str
    packages: tuple[str, ...]
    install: str
    backend: str = ""
    lacking: str = ""
    on_processor: bool = False
    concurrent: bool = False
    one_arena: bool = False
    plugins: bool = False
    bodies: frozenset[str] | None = frozenset()
    builds: str = ""
    build_seconds: float = 0.0
    types_bf16: bool = False
    vetted: bool = False
    int8: Int8 | None = None


_BACKENDS = "edgeflow.runtime.backends"
_OPENVINO = with_extras("openvino")

OURS = (
    Library(
        "onnxruntime",
        packages=("onnxruntime", "onnxruntime-gpu"),
        install=with_extras("onnxruntime"),
        backend=f"{_BACKENDS}.onnxruntime_backend:OnnxRuntimeBackend",
        on_processor=True,
        concurrent=True,
        one_arena=True,
        bodies=None,
        builds="models",
        int8=Int8("onnxruntime"),
    ),
    Library(
        "onnxruntime-cuda",
        packages=("onnxruntime-gpu",),
        install="pip install onnxruntime-gpu",
        backend=f"{_BACKENDS}.onnxruntime_cuda_backend:OnnxRuntimeCudaBackend",
    ),
    Library(
        "openvino",
        packages=("openvino",),
        install=_OPENVINO,
        backend=f"{_BACKENDS}.openvino_backend:OpenVinoBackend",
        on_processor=True,
        concurrent=True,
        bodies=frozenset(("EdgeflowCostVolume",)),  # it refuses those of the deformable operators
        builds="models",
        int8=Int8("openvino"),
    ),
    Library(
        "openvino-gpu",
        packages=("openvino",),
        install=_OPENVINO,
        backend=f"{_BACKENDS}.openvino_backend:OpenVinoGpuBackend",
        lacking=f"{_BACKENDS}.openvino_backend:lacks_gpu",
    ),
    Library(
        "openvino-npu",
        packages=("openvino",),
        install=_OPENVINO,
        backend=f"{_BACKENDS}.openvino_backend:OpenVinoNpuBackend",
        lacking=f"{_BACKENDS}.openvino_backend:lacks_npu",
    ),
    Library(
        "tensorrt",
        packages=("tensorrt",),
        install="on a Jetson it comes with JetPack (apt install python3-libnvinfer, and make the virtual "
        "environment with --system-site-packages), elsewhere pip install tensorrt",
        backend=f"{_BACKENDS}.tensorrt_backend:TensorRtBackend",
        one_arena=True,
        plugins=True,
        builds="engines",
        build_seconds=0.5,
        types_bf16=True,
        vetted=True,
        int8=Int8("onnxruntime", signed=True, bias=False, moving=False, pairs_fit=False),
    ),
    Library(
        "torch-tensorrt",
        packages=("torch-tensorrt",),
        install="pip install torch-tensorrt",
        builds="engines",
    ),
)
"""Those that edgeflow ships."""


@cache
def libraries() -> dict[str, Library]:
    """Every engine library, edgeflow's own and those of installed packages, by name.

    Raises:
        ExtensionError: a package's library cannot be loaded.
    """
    return {own.name: own for own in OURS} | {
        own.name: own for own in extensions("libraries", Library).values()
    }


def library(name: str) -> Library:
    """An engine library by its name.

    Raises:
        BackendError: there is none of that name.
    """
    known = libraries()
    if name not in known:
        raise BackendError(
            f"unknown engine library {name!r}: known are {', '.join(known)}; a package may add others (docs/adding_a_target.md)"
        )
    return known[name]
