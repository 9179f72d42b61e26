"""Loads a plan's engines, as many at a time as the engine library can."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod
from typing import cast

from edgeflow.ir.bfloat16 import held
from edgeflow.ir.bundle import WEIGHTS, Bundle, GraphEntry
from edgeflow.ir.bundle.costs import Roofline, load_costs
from edgeflow.ir.errors import BackendError, EdgeflowError
from edgeflow.ir.libraries import library
from edgeflow.ir.plan import Plan, Port, StageGraph
from edgeflow.ir.program import Shape
from edgeflow.runtime.backends import Backend, Engine, SharedEngine
from edgeflow.runtime.backends.base import GraphFile, JoiningBackend
from edgeflow.runtime.device import device_of
from edgeflow.runtime.kernels import open_kernel
from edgeflow.runtime.stream.rows import Array
from edgeflow.targets.target import numbers

COPIED_BYTES = 64e6
"""Graphs with more weights than this are joined in one engine, though several would load faster."""


@dataclass
class LoadedGraph:
    """A graph at its shapes: its engine, what a run costs, and the arrays it writes, which grow as needed.

    Attributes:
        graph: of the plan.
        outputs: what the engine writes: images as uint8, or exact; then the means of those in bytes.
        engine: shared by the graphs that differ in nothing but shapes.
        costs: milliseconds of a run, per batch size.
        segments: that it computes.
        measured: costs were measured on this device, not guessed from the target's description.
        arrays: what it writes.
        means: what its runs within a frame write means to, by the run's number: devices want them aligned, so
            runs do not share an array.
        scratch: what its inputs are gathered into, by position.
    """

    graph: StageGraph
    outputs: tuple[Port, ...]
    engine: Engine
    costs: Mapping[int, float]
    segments: tuple[str, ...]
    measured: bool = True
    arrays: list[Array] = field(default_factory=list)
    means: list[list[Array]] = field(default_factory=list)

    @property
    def values(self) -> tuple[Port, ...]:
        """What it writes that the plan knows of."""
        return self.outputs[: len(self.graph.outputs)]

    @property
    def told(self) -> tuple[Port, ...]:
        """What it writes besides: the means of pictures."""
        return self.outputs[len(self.graph.outputs) :]

    scratch: dict[int, Array] = field(default_factory=dict)

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """Run the engine, see `Engine.run`; what its library says against it becomes one of our errors.

        Raises:
            BackendError: the library cannot run it on these inputs; names graph and segments.
        """
        try:
            self.engine.run(inputs, outputs)
        except EdgeflowError:
            raise
        except Exception as error:
            shapes = ", ".join("x".join(map(str, array.shape)) for array in inputs)
            reason = " ".join(str(error).split())[:300]
            raise BackendError(
                f"segment {', '.join(self.segments)}: its engine {self.graph.graph} cannot run on inputs of {shapes}: {reason}"
            ) from error


def load_graphs(
    bundle: Bundle,
    plan: Plan,
    backend: Backend,
    size: tuple[int, int],
    exact: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, LoadedGraph]:
    """Every graph of a plan with its engine, by the graph's key.

    Args:
        bundle: where the graphs lie.
        plan: whose graphs they are.
        backend: the engine library.
        size: (height, width) of the frames.
        exact: make images as float before rounding.
        progress: told how many engines are loaded, of how many.

    Raises:
        BackendError: a graph is missing, needs a plugin, or the library refuses it, or is too old.
    """
    _check_release(bundle, backend)
    dims = dims_of(size)
    variants: dict[str, list[StageGraph]] = {}
    for graph in plan.graphs:
        variants.setdefault(graph.graph, []).append(graph)
    entries = {name: _entry(bundle, name, backend) for name in variants}
    outputs = {name: [graph.written(exact) for graph in graphs] for name, graphs in variants.items()}
    engines: dict[str, Engine] = {}
    loads = _loads(variants, plan.usual, outputs, entries, backend, dims)

    def load(names: Sequence[str]) -> Sequence[Engine]:
        try:
            return open_engines(names)
        except EdgeflowError:
            raise
        except Exception as error:  # whatever a library, or a kernel, raises
            reason = " ".join(str(error).split())[:300]
            raise BackendError(
                f"{backend.name} {backend.version} cannot load {', '.join(names)}: {type(error).__name__}: {reason}"
            ) from error

    def open_engines(names: Sequence[str]) -> Sequence[Engine]:
        if len(names) == 1:
            (name,) = names
            return [_engine(bundle, entries[name], variants[name], outputs[name], backend, dims)]
        files = [
            GraphFile(bundle.path / entries[name].file, variants[name][0].inputs, *outputs[name])
            for name in names
        ]
        return cast(JoiningBackend, backend).load_joined(files, dims)

    with ThreadPoolExecutor(backend.loads_at_once, "load") as pool:
        for names, made in zip(loads, pool.map(load, loads), strict=True):
            engines |= zip(names, made, strict=True)
            if progress:
                progress(len(engines), len(variants))
    measured = load_costs(bundle.path, device_of(bundle, backend))
    known = measured.ms if measured else {}
    roofline = Roofline(**bundle.manifest.target["roofline"])
    loaded = {}
    for name, graphs in variants.items():
        for graph, ports in zip(graphs, outputs[name], strict=True):
            costs = known.get(graph.key, {})
            if not (complete := set(costs) >= set(graph.batches)):
                costs = roofline_ms(graph, entries[name].weight_bytes, dims, roofline)
            loaded[graph.key] = LoadedGraph(
                graph, ports, engines[name], costs, entries[name].segments, complete
            )
    return loaded


def twins(loaded: Mapping[str, LoadedGraph]) -> dict[str, LoadedGraph]:
    """The same engines with arrays of their own, for another frame in flight.

    Raises:
        BackendError: a native kernel is among them, which runs one frame at a time.
    """
    engines: dict[int, Engine] = {}
    made: dict[int, object] = {}
    for graph in loaded.values():
        if not hasattr(graph.engine, "twin"):
            raise BackendError(
                f"{graph.graph.graph} is a native kernel, which runs one frame at a time: leave in_flight at 1"
            )
        if id(graph.engine) not in engines:
            engines[id(graph.engine)] = cast(SharedEngine, graph.engine).twin(made)
    return {
        key: LoadedGraph(
            graph.graph, graph.outputs, engines[id(graph.engine)], graph.costs, graph.segments, graph.measured
        )
        for key, graph in loaded.items()
    }


def dims_of(size: tuple[int, int]) -> dict[str, int]:
    """What the free dimensions of a frame (height, width) are."""
    return {"height": size[0], "width": size[1]}


def sizes_of(shape: Shape, dims: Mapping[str, int]) -> tuple[int, ...]:
    """A shape with the frame's dimensions filled in."""
    return tuple(dims[d] if isinstance(d, str) else d for d in shape)


def _check_release(bundle: Bundle, backend: Backend) -> None:
    """Refuse a release of the target's library that lacks what the graphs need.

    Raises:
        BackendError: says which is needed.
    """
    target = bundle.manifest.target
    needed = target["versions"][0]
    if backend.name == target["library"] and numbers(backend.version) < numbers(needed):
        raise BackendError(
            f"{bundle.path} needs {backend.name} {needed} or newer, and {backend.version} is here: update it, or export the bundle again "
            "here, with --operators standard, which leaves out what came later"
        )


def _entry(bundle: Bundle, name: str, backend: Backend) -> GraphEntry:
    """What the bundle says of a graph that this library can run."""
    entry = bundle.manifest.graphs.get(name)
    if entry is None:
        raise BackendError(f"bundle {bundle.path}: the plan names a graph {name} that it lacks; export again")
    if entry.plugins and not library(backend.name).plugins:
        raise BackendError(
            f"{name} holds {' and '.join(entry.plugins)}, which are TensorRT plugins: to run the bundle by "
            f"{backend.name}, export it with --operators native or standard"
        )
    return entry


def _engine(
    bundle: Bundle,
    entry: GraphEntry,
    graphs: Sequence[StageGraph],
    outputs: Sequence[tuple[Port, ...]],
    backend: Backend,
    dims: Mapping[str, int],
) -> Engine:
    """The engine of graphs that differ in nothing but shapes: its kernel if that is here, or the library's."""
    if entry.kernel:
        kernel = open_kernel(entry.kernel, bundle.path / WEIGHTS, backend.threads)
        if kernel is not None:
            return kernel
    inputs = _common([graph.inputs for graph in graphs])
    batch = 1 if all(graph.batches == (1,) for graph in graphs) else None
    file = bundle.path / entry.file
    return backend.load(file, inputs, _common(outputs), dims, entry.precision, batch)


def _loads(
    variants: Mapping[str, Sequence[StageGraph]],
    usual: Collection[str],
    outputs: Mapping[str, Sequence[tuple[Port, ...]]],
    entries: Mapping[str, GraphEntry],
    backend: Backend,
    dims: Mapping[str, int],
) -> list[Sequence[str]]:
    """Which graphs to load together: those with equal outputs, where a backend can join them; the most at a time first.

    A joined engine takes a little longer, so graphs that most regions run stand alone. There are as many loads as
    run at a time, unless each then held a copy of many weights.
    """
    groups: dict[object, list[str]] = {}
    for name, graphs in variants.items():
        joins = backend.joins and name not in usual and _can_join(graphs, entries[name], dims)
        ends = tuple((port.shape, port.dtype) for ports in outputs[name] for port in ports)
        groups.setdefault(ends if joins else name, []).append(name)
    loads: list[Sequence[str]] = []
    for names in groups.values():
        heavy = max(entries[name].weight_bytes for name in names) > COPIED_BYTES
        loads += _shares(names, 1 if heavy else backend.loads_at_once)
    return sorted(loads, key=len, reverse=True)  # so that all threads end at about the same time


def _can_join(graphs: Sequence[StageGraph], entry: GraphEntry, dims: Mapping[str, int]) -> bool:
    """Whether an engine has one static shape and computes in fp32: of a joined one, no precision can be read back."""
    shapes = [port.shape for graph in graphs for port in graph.inputs]
    static = all(isinstance(d, int) or d in dims for shape in shapes for d in shape)
    one = len(graphs) == 1 and graphs[0].batches == (1,)
    return one and static and entry.precision == "fp32" and not entry.kernel


def _shares(names: Sequence[str], count: int) -> list[Sequence[str]]:
    """So many contiguous shares, as equal as they can be; fewer if there are not as many names."""
    count = min(count, len(names))
    cuts = [len(names) * i // count for i in range(count + 1)]
    return [names[first:end] for first, end in pairwise(cuts)]


def _common(variants: Sequence[tuple[Port, ...]]) -> tuple[Port, ...]:
    """The ports of graphs that share an engine: dimensions in which they differ are free, and have no name."""
    first, *others = variants
    merged = []
    for i, port in enumerate(first):
        shapes = zip(port.shape, *(ports[i].shape for ports in others), strict=True)
        merged.append(replace(port, shape=tuple(own[0] if len(set(own)) == 1 else "" for own in shapes)))
    return tuple(merged)


def roofline_ms(
    graph: StageGraph, weight_bytes: int, dims: Mapping[str, int], roofline: Roofline
) -> dict[int, float]:
    """Milliseconds of a graph's runs per batch size by the target's roofline, until engines were timed."""
    row = sum(row_bytes(port.shape, port.dtype, dims) for port in (*graph.inputs, *graph.outputs))
    flops = graph.flops_at((dims["height"], dims["width"]))
    return {batch: roofline.ms(flops * batch, row * batch + weight_bytes) for batch in graph.batches}


def row_bytes(shape: Shape, dtype: str, dims: Mapping[str, int]) -> int:
    """Bytes of one region's tensor."""
    return prod(sizes_of(shape, dims)) * held(dtype).itemsize
