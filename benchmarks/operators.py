"""Milliseconds of each operator in each of its forms, per engine library.

python benchmarks/operators.py [--rounds 25] [--threads 2]

All forms of one library run in turn, round by round, in one process per library; medians. AdaBD is measured
between two convolutions of the library too, as a plan runs it: ONNX Runtime's workers spin for a while after
each run, and a kernel with threads of its own feels that.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from records import record, save
from torch import Tensor, nn

from edgeflow.export.lowering.segment import SegmentModule, to_onnx
from edgeflow.export.operators.descriptor import KernelDraft
from edgeflow.export.passes import run_passes
from edgeflow.export.weights import WeightFile
from edgeflow.ir.plan import Port
from edgeflow.ops.adabd import AdaBD, adabd_counts
from edgeflow.ops.deform_conv import deform_conv2d
from edgeflow.ops.hetconv import HetConv
from edgeflow.runtime.backends import Backend, Engine, open_backend
from edgeflow.runtime.kernels import open_kernel

LIBRARIES = ("onnxruntime", "openvino")
V2C = (64, 128, 256)
"""(channels, height, width) of AdaBD in Shortcut-V2V's Viper to Cityscapes."""
HET = ((256, 64, 64, 128), (64, 64, 64, 128), (128, 64, 128, 256), (64, 64, 128, 256))
"""(inputs, outputs, height, width) of the HetConvs of that block."""


class OneDeformConv(nn.Module):
    """The moved half of AdaBD alone."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, current: Tensor, reference: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        return deform_conv2d(reference, offset, self.weight, padding=1, mask=mask)


class TwoOffsetGroups(OneDeformConv):
    """AdaBD as one `DeformConv` of both maps side by side."""

    def forward(self, current: Tensor, reference: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        maps = torch.cat([current, reference], 1)
        offsets = torch.cat([torch.zeros_like(offset), offset], 1)
        masks = torch.cat([mask, 1 - mask], 1)
        return deform_conv2d(maps, offsets, torch.cat([self.weight] * 2, 1), padding=1, mask=masks)


class Unfolded(OneDeformConv):
    """AdaBD as one `DeformConv`, and a 1x1 convolution of the masked plain taps."""

    def forward(self, current: Tensor, reference: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        height, width = current.shape[2:]
        padded = F.pad(current, (1, 1, 1, 1))
        taps = [
            padded[:, :, k // 3 : k // 3 + height, k % 3 : k % 3 + width] * mask[:, k : k + 1]
            for k in range(9)
        ]
        matrix = self.weight.permute(0, 2, 3, 1).reshape(len(self.weight), -1, 1, 1)
        moved = deform_conv2d(reference, offset, self.weight, padding=1, mask=1 - mask)
        return moved + F.conv2d(torch.cat(taps, 1), matrix)


class PlainConv(OneDeformConv):
    """A 3x3 convolution of the same size."""

    def forward(self, current: Tensor, reference: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        return F.conv2d(current, self.weight, padding=1)


class Forms:
    """Engines of one library, each ready to run on arrays of its own."""

    def __init__(self, backend: Backend, folder: Path) -> None:
        self._backend, self._folder, self._files = backend, folder, 0

    def engine(
        self, module: nn.Module, inputs: list[Tensor], form: str = "native", fold: bool = False
    ) -> tuple[Engine, list[int]]:
        """A module's engine, and which of the inputs its graph reads."""
        segment = SegmentModule(module.eval(), {}, (False,) * len(inputs), (False,))
        graph = to_onnx(segment, inputs, [{}] * len(inputs), ["out.0"], "benchmark", form)
        if fold:
            graph = run_passes(graph, ["fold-parallel-conv"], "benchmark")
        read = {name for node in graph.graph.node for name in node.input}
        used = [i for i in range(len(inputs)) if f"in.{i}" in read]
        path = self._folder / f"{self._files}.onnx"
        self._files += 1
        path.write_bytes(graph.SerializeToString())
        with torch.no_grad():
            shape = module(*inputs).shape[1:]
        ports = [Port(f"in.{i}", f"in.{i}", tuple(inputs[i].shape[1:]), "float32") for i in used]
        out = Port("out.0", "out.0", tuple(shape), "float32")
        return self._backend.load(path, ports, [out], {}, batch=len(inputs[0])), used

    def run(self, module: nn.Module, inputs: list[Tensor], **options: object) -> Callable[[], None]:
        """A call of a module's engine."""
        engine, used = self.engine(module, inputs, **options)  # type: ignore[arg-type]
        arrays = [inputs[i].numpy() for i in used]
        with torch.no_grad():
            made = [np.empty(module(*inputs).shape, np.float32)]
        return lambda: engine.run(arrays, made)

    def kernel(self, weight: Tensor) -> Engine | None:
        """AdaBD's native kernel; None without Numba."""
        file = WeightFile("weights.bin")
        kernel = file.add_kernel(KernelDraft("adabd", {"weight": weight.detach().numpy()}))
        file.write(self._folder / file.name)
        return open_kernel(kernel, self._folder / file.name, self._backend.threads)


Run = tuple[str, tuple[int, ...], str, Callable[[], None]]
"""Operator, shape, form, and how to run it."""


def adabd_runs(forms: Forms) -> Iterator[Run]:
    channels, height, width = V2C
    module = AdaBD(channels)
    inputs = adabd_inputs()
    for form in ("native", "standard"):
        yield "adabd", V2C, NAMES[form], forms.run(module, inputs, form=form)
    for name, other in (
        ("one DeformConv, two offset groups", TwoOffsetGroups),
        ("one DeformConv, unfolded taps", Unfolded),
        ("half of it: one DeformConv", OneDeformConv),
        ("beside it: a 3x3 convolution", PlainConv),
    ):
        yield "adabd", V2C, name, forms.run(other(module.weight), inputs)
    kernel = forms.kernel(module.weight)
    arrays = [x.numpy() for x in inputs]
    made = [np.empty((1, channels, height, width), np.float32)]
    if kernel:
        yield "adabd", V2C, "kernel", lambda: kernel.run(arrays, made)


NAMES = {"native": "two DeformConv (Eq. 6)", "standard": "GridSample, one product"}


def adabd_inputs() -> list[Tensor]:
    torch.manual_seed(0)
    channels, height, width = V2C
    smooth = F.interpolate(
        torch.randn(1, 18, height // 16, width // 16) * 3, (height, width), mode="bilinear"
    )
    maps = torch.rand(2, 1, channels, height, width)
    return [*maps, smooth, torch.rand(1, 9, height, width)]


def chain_runs(forms: Forms) -> Iterator[Run]:
    """Convolution, AdaBD, convolution, as three engines: AdaBD in the library, and as the kernel."""
    channels = V2C[0]
    module, inputs = AdaBD(channels), adabd_inputs()
    convs = [
        forms.engine(nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()), inputs[:1])[0]
        for _ in range(2)
    ]
    x, middle, y, z = (np.empty_like(inputs[0].numpy()) for _ in range(4))
    x[:] = inputs[0].numpy()
    rest = [tensor.numpy() for tensor in inputs[1:]]
    engines = {NAMES[form]: forms.engine(module, inputs, form)[0] for form in ("native", "standard")}
    kernel = forms.kernel(module.weight)
    if kernel:
        engines["kernel"] = kernel

    def chain(engine: Engine | None) -> Callable[[], None]:
        def run() -> None:
            convs[0].run([x], [middle])
            if engine:
                engine.run([middle, *rest], [y])
            convs[1].run([y], [z])

        return run

    for name, engine in engines.items():
        yield "convolution, adabd, convolution", V2C, name, chain(engine)
    yield "convolution, adabd, convolution", V2C, "the convolutions alone", chain(None)


def deform_conv_runs(forms: Forms) -> Iterator[Run]:
    """Shortcut-V2V's global alignment: two maps at half the size."""
    channels, height, width = V2C[0], V2C[1] // 2, V2C[2] // 2
    inputs = [torch.rand(2, channels, height, width), torch.randn(2, 18, height, width) * 2]
    weight = nn.Parameter(torch.randn(channels, channels, 3, 3))

    class Align(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = weight

        def forward(self, x: Tensor, offset: Tensor) -> Tensor:
            return deform_conv2d(x, offset, self.weight, padding=1)

    for form, name in (("native", "DeformConv"), ("standard", "GridSample, one product")):
        yield "deform_conv2d", (2, channels, height, width), name, forms.run(Align(), inputs, form=form)


def hetconv_runs(forms: Forms) -> Iterator[Run]:
    for inputs, outputs, height, width in HET:
        module, x = HetConv(inputs, outputs), torch.rand(1, inputs, height, width)
        shape = (inputs, outputs, height, width)
        yield "hetconv", shape, "three convolutions", forms.run(module, [x])
        yield "hetconv", shape, "folded", forms.run(module, [x], fold=True)


def timed(runs: list[Run], rounds: int) -> list[list[float]]:
    """Milliseconds of every run: all in turn, round after round; the first two rounds are not kept."""
    times: list[list[float]] = [[] for _ in runs]
    for number in range(rounds + 2):
        for own, (*_, run) in zip(times, runs, strict=True):
            start = perf_counter()
            run()
            if number >= 2:
                own.append((perf_counter() - start) * 1e3)
    return times


def measure(library: str, rounds: int, threads: int | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        forms = Forms(open_backend(library, threads), Path(folder))
        runs = [
            run for make in (adabd_runs, chain_runs, deform_conv_runs, hetconv_runs) for run in make(forms)
        ]
        times = timed(runs, rounds)
    counts = adabd_counts(*(tuple(x.shape) for x in adabd_inputs()), (V2C[0], V2C[0], 3, 3))
    records = []
    for (operator, shape, form, _), own in zip(runs, times, strict=True):
        low, middle, high = (float(np.percentile(own, p)) for p in (10, 50, 90))
        size = "x".join(map(str, shape))
        fields = {"operator": operator, "shape": size, "form": form, "backend": library}
        records.append(
            record(
                **fields,
                rounds=rounds,
                load=os.getloadavg()[0],
                median_ms=middle,
                p10_ms=low,
                p90_ms=high,
                min_ms=min(own),
                product_flops=counts.flops if operator == "adabd" else None,
            )
        )
        print(f"{library} {operator} {size} {form}: {middle:.2f} ms ({low:.2f} to {high:.2f})")
    save("operators", records, ("operator", "shape", "form", "backend"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--library", choices=LIBRARIES, help="measure it in this process")
    options = parser.parse_args()
    if options.library:
        measure(options.library, options.rounds, options.threads)
        return
    for library in LIBRARIES:  # one process each: an idle library's threads would still spin
        subprocess.run([sys.executable, *sys.argv, "--library", library], check=True)


if __name__ == "__main__":
    main()
