"""What engines cost: timed on this machine, or taken from the target's roofline."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx

from edgeflow.export.drafts import Link, StageDraft, Variant
from edgeflow.export.lowering.link import link
from edgeflow.export.lowering.trials import faster_form
from edgeflow.export.operators.descriptor import KernelDraft
from edgeflow.export.stopwatch import Stopwatch
from edgeflow.export.weights import WeightFile, save_graph
from edgeflow.ir.bundle import WEIGHTS
from edgeflow.ir.plan import Port
from edgeflow.ir.program import FRAME, Program, Route, reads
from edgeflow.ir.route import Assignment
from edgeflow.runtime.backends import Backend, Engine
from edgeflow.runtime.device import measure
from edgeflow.runtime.kernels import open_kernel
from edgeflow.runtime.stream.loading import row_bytes
from edgeflow.targets import Target

WORTH = 0.95
"""A batch is kept if a region takes less than this share of its time in any smaller one: it takes memory, too."""
LONG_MS = 20.0
"""Runs longer than this fill the machine: if they gain nothing by twice the batch, nor will larger ones."""


@dataclass
class Pricer:
    """Prices of the engines that a program's calls could become.

    Attributes:
        program: whose calls they are.
        target: what they are compiled for.
        graph: the lowered graph of a link.
        flops: of one region, by a call's first output and the variant.
        flops_per_pixel: what a pixel of the frame adds, by the same.
        port: an input or output of an engine, all dimensions known.
        backend: times engines; None to go by the roofline alone.
        kernel_of: the native kernel that could run a stage of these calls in place of its graph.
        watch: told what the timing took.
        known: prices found so far.
        slower: kernels that took longer than the graph.
    """

    program: Program
    target: Target
    graph: Callable[[Link], onnx.ModelProto]
    flops: Mapping[tuple[str, Assignment], int]
    flops_per_pixel: Mapping[tuple[str, Assignment], float]
    port: Callable[[str, Mapping[str, object]], Port]
    backend: Backend | None
    kernel_of: Callable[[tuple[Link, ...]], KernelDraft | None]
    watch: Stopwatch
    known: dict[tuple[object, ...], Mapping[int, float]] = field(default_factory=dict)
    slower: set[tuple[object, ...]] = field(default_factory=set)

    def exact(self, variant: Variant) -> Mapping[int, float]:
        """Milliseconds of a run per batch size worth running: timed once, if there is a backend."""
        key = self._key(variant)
        if key not in self.known:
            with self.watch.part("time engines" if self.backend else "estimate engines"):
                self.known[key] = self._timed(variant) if self.backend else self._estimated(variant)
        return self.known[key]

    def again(self, variant: Variant) -> Mapping[int, float]:
        """Time an engine again at the batch sizes worth running; keep the lower time."""
        known = self.exact(variant)
        if self.backend is None:
            return known
        with self.watch.part("time engines"):
            fresh = self._timed(variant, tuple(known))
        lower = {batch: min(ms, fresh.get(batch, ms)) for batch, ms in known.items()}
        self.known[self._key(variant)] = lower
        return lower

    def bound(self, variant: Variant) -> Mapping[int, float]:
        """Prices that exact ones are taken not to fall below; exact themselves where nothing must be timed.

        That is what the calls cost apart, less one launch for each but one, and less all traffic that an
        engine of all of them does without. A call that was not priced alone counts nothing. An engine
        that gains more (an engine library may run two calls' operators as one) is below its bound.
        """
        if self.backend is None or self._key(variant) in self.known:
            return self.exact(variant)
        apart = [self.known.get(self._key_alone(part), {}) for part in variant.links]
        roofline = self.target.roofline
        launches = roofline.launch_ms * (len(apart) - 1)
        traffic = self._saved_bytes(variant) / roofline.gbytes / 1e6
        return {
            batch: max(sum(_least(prices, batch) for prices in apart) - launches - traffic * batch, 0.0)
            for batch in self._batches(variant)
        }

    def kernel(self, variant: Variant) -> KernelDraft | None:
        """The kernel to run in place of a variant's graph, unless it was timed to be slower."""
        return None if self._key(variant) in self.slower else self.kernel_of(variant.links)

    def weight_bytes(self, stage: StageDraft) -> int:
        """Bytes of a stage's weights; engines that differ in nothing but shapes count once."""
        engines: dict[tuple[object, ...], int] = {}
        for variant in stage.variants:
            what = tuple((p.call.segment, self._axes(p), p.call.constants) for p in variant.links)
            engines[what] = sum(_initialiser_bytes(self.graph(part)) for part in variant.links)
        return sum(engines.values())

    def _timed(self, variant: Variant, batches: Sequence[int] = ()) -> Mapping[int, float]:
        """Milliseconds of these batch sizes, or of those that turn out worth running."""
        images = {value.name for value in self.program.values if value.image}
        model = link(variant, {part: self.graph(part) for part in variant.links}, images)
        inputs, outputs = self._ports(variant)
        backend = self.backend
        assert backend is not None
        precision = self._precision(variant)
        if precision == "int8":
            model = faster_form(self._quantised(model, inputs), inputs, outputs, backend, "an engine", "int8")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "engine.onnx"
            save_graph(model, path)
            prices = self._measured(
                lambda batch: backend.load(path, inputs, outputs, {}, precision, batch), variant, batches
            )
        kernel = self._open_kernel(variant)
        if kernel is None:
            return prices
        native = self._measured(lambda batch: kernel, variant, batches)
        if native[1] < prices[1]:
            return native
        self.slower.add(self._key(variant))
        return prices

    def _precision(self, variant: Variant) -> str:
        """At which the bundle will run it: what decides routes stays single."""
        routes = (op for op in self.program.operations if isinstance(op, Route))
        scores = {decision.scores for route in routes for decision in route.decisions}
        return "fp32" if scores & {name for name, _ in variant.outputs} else self.target.precision

    def _quantised(self, model: onnx.ModelProto, inputs: Sequence[Port]) -> onnx.ModelProto:
        """With ranges of no meaning: these change what an int8 engine makes, and not how long that takes."""
        from edgeflow.export.precision.qdq import drawn, layers_of, quantised, ranged, scheme_of

        layers = layers_of(model)
        if not layers:
            return model
        source = ranged(model, [port.tensor for port in inputs], [drawn(inputs)])
        return quantised(source, layers, scheme_of(self.target.library))

    def _measured(
        self, load: Callable[[int | None], Engine], variant: Variant, batches: Sequence[int] = ()
    ) -> dict[int, float]:
        """Milliseconds of an engine built for one row, or of one for several batch sizes where these gain enough, or for those given.

        The latter may take longer for one row; its larger sizes must gain over the former.
        """
        if batches:
            return self._times(load(None if len(batches) > 1 else batches[0]), variant, batches)
        first, *larger = self._batches(variant)
        one = load(first)
        alone = self._times(one, variant, [first])
        if not larger:
            return alone
        several = load(None)
        worth = []
        for batch in larger:
            ms = self._times(several, variant, [batch])[batch]
            if _gains(ms, batch, alone):
                worth.append(batch)
            elif ms > LONG_MS:
                break
        if not worth:
            return alone
        in_turn = self._times(several, variant, [first, *worth])
        again = self._times(one, variant, [first])  # another program may have slowed it before
        kept = {first: min(alone[first], again[first])}
        for batch in worth:
            if _gains(in_turn[batch], batch, kept):
                kept[batch] = in_turn[batch]
        return kept | {first: in_turn[first]} if len(kept) > 1 else kept

    def _times(self, engine: Engine, variant: Variant, batches: Sequence[int]) -> dict[int, float]:
        assert self.backend is not None
        return measure(engine, self.backend.memory, *self._ports(variant), batches)

    def _open_kernel(self, variant: Variant) -> Engine | None:
        draft = self.kernel_of(variant.links)
        if draft is None:
            return None
        assert self.backend is not None
        weights = WeightFile(Path(WEIGHTS).name)
        with tempfile.TemporaryDirectory() as folder:
            kernel = weights.add_kernel(draft)
            weights.write(Path(folder) / weights.name)
            return open_kernel(kernel, Path(folder) / weights.name, self.backend.threads)

    def _estimated(self, variant: Variant) -> Mapping[int, float]:
        row = _row_bytes([port for ports in self._ports(variant) for port in ports])
        weights = sum(_initialiser_bytes(self.graph(part)) for part in variant.links)
        flops = sum(self._work(part, alone=len(variant.links) == 1) for part in variant.links)
        roofline = self.target.roofline
        return {b: roofline.ms(flops * b, row * b + weights) for b in self._batches(variant)}

    def _work(self, part: Link, alone: bool) -> int:
        """FLOPs of a call: inside a larger engine an operator with a kernel is its graph, which may compute more."""
        flops = self.flops[part.call.outputs[0], part.variant]
        draft = None if alone else self.kernel_of((part,))
        return flops * draft.graph_work if draft else flops

    def _saved_bytes(self, variant: Variant) -> int:
        """Bytes that the calls of one region read and write apart, and not in one engine."""
        values = dict(variant.variant)
        apart = [n for part in variant.links for n in (*dict.fromkeys(part.call.inputs), *part.call.outputs)]
        fused = [port for ports in self._ports(variant) for port in ports]
        return max(_row_bytes([self.port(name, values) for name in apart]) - _row_bytes(fused), 0)

    def _ports(self, variant: Variant) -> tuple[list[Port], list[Port]]:
        values = dict(variant.variant)
        inputs = [self.port(name, values) for name in variant.inputs]
        outputs = [
            replace(self.port(source, values), value=name, tensor=name) for name, source in variant.outputs
        ]
        return inputs, outputs

    def _batches(self, variant: Variant) -> tuple[int, ...]:
        return (1,) if variant.links[0].call.regions == FRAME else self.target.batches

    def _key(self, variant: Variant) -> tuple[object, ...]:
        return self._key_of(variant.links, [source for _, source in variant.outputs])

    def _key_alone(self, part: Link) -> tuple[object, ...]:
        """Key of the call as a stage of its own, which hands on whatever is read elsewhere."""
        operations = self.program.operations
        return self._key_of(
            (part,), [*{n for op in operations for n in reads(op)} | set(self.program.results)]
        )

    def _key_of(self, links: tuple[Link, ...], handed_on: Sequence[str]) -> tuple[object, ...]:
        """Equal for engines that are equal: segments, what they are built for, and what is handed on."""
        return tuple(
            (
                part.call.segment,
                self._axes(part),
                part.call.constants,
                tuple(
                    self.port(n, dict(part.variant)).shape for n in (*part.call.inputs, *part.call.outputs)
                ),
                tuple(handed_on.count(name) for name in part.call.outputs),
            )
            for part in links
        )

    def _axes(self, part: Link) -> tuple[object, ...]:
        values = dict(part.variant)
        return tuple((keyword, values[variable]) for keyword, variable in part.call.axes)


def _gains(ms: float, batch: int, smaller: Mapping[int, float]) -> bool:
    """Whether a region is so much faster in this batch than in any smaller one that it is worth keeping."""
    return ms / batch < WORTH * min(price / size for size, price in smaller.items())


def _least(prices: Mapping[int, float], batch: int) -> float:
    """Price of a batch; one that was not worth keeping takes at least `WORTH` of the largest in proportion."""
    if not prices or batch in prices:
        return prices.get(batch, 0.0)
    largest = max(prices)
    return WORTH * prices[largest] * batch / largest


def _row_bytes(ports: Sequence[Port]) -> int:
    return sum(row_bytes(port.shape, port.dtype, {}) for port in ports)


def _initialiser_bytes(model: onnx.ModelProto) -> int:
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)
