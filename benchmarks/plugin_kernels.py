"""The TensorRT plugins' kernels on this machine's GPU: right, and how fast.

    python benchmarks/plugin_kernels.py

Every case is first compared with float64, then timed as a CUDA graph, in turn with torch's ways to compute the
same (torchvision's deformable convolution where torchvision is installed), and set against a roofline of what
this GPU was just measured to do: bytes that must be moved once at the rate of a copy, and multiplications at the
rate of cuBLAS's largest products. Needs torch with CUDA, and nvcc; no TensorRT. Results are kept in
results/plugin_kernels.json.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from records import record, save

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/targets/tensorrt_plugins"))

import torch_kernels
from kernel_calls import compile_for_gpu

from edgeflow.ops.cost_volume import cost_volume

try:
    import torchvision
except ImportError:
    torchvision = None

ROUNDS = 30
CALLS = 10  # of a kernel in one graph, so that launching the graph weighs little

Run = Callable[[], torch.Tensor]


@dataclass(frozen=True)
class Case:
    """What is computed, in every way known here.

    Attributes:
        name: for people.
        runs: by name; the first is ours.
        exact: in float64.
        moved: bytes of every input and of the output, once.
        products: multiplications with the weight.
    """

    name: str
    runs: dict[str, Run]
    exact: Run
    moved: int
    products: int


def main() -> None:
    """Compile, compare, time, print and keep."""
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    with tempfile.TemporaryDirectory() as folder:
        kernels = torch_kernels.TorchKernels(compile_for_gpu(Path(folder)))
    device = torch.cuda.get_device_name()
    peaks = {dtype: (bandwidth(), product_rate(dtype)) for dtype in (torch.float16, torch.float32)}
    for dtype, (moved, multiplied) in peaks.items():
        print(f"{device}, {dtype}: copies {moved / 1e9:.0f} GB/s, products {multiplied / 1e12:.0f} T/s")
    rows = []
    for dtype in peaks:
        for case in cases(kernels, dtype):
            rows += measure(case, dtype, peaks[dtype], device)
    print(f"kept in {save('plugin_kernels', rows, ('gpu', 'case', 'dtype', 'way'))}")


def cases(kernels: torch_kernels.TorchKernels, dtype: torch.dtype) -> list[Case]:
    """Feature maps of a quarter and an eighth of a 1080p frame."""
    sizes = [(1, 64, 270, 480, 64), (1, 128, 135, 240, 128), (4, 64, 135, 240, 64)]
    made = []
    for n, channels, height, width, outputs in sizes:
        label = f"{n}x{channels}x{height}x{width} to {outputs}"
        x, reference = (torch.randn(n, channels, height, width, device="cuda", dtype=dtype) for _ in range(2))
        offset = torch.randn(n, 18, height, width, device="cuda") * 2
        mask = torch.rand(n, 9, height, width, device="cuda")
        weight = torch.randn(outputs, channels, 3, 3, device="cuda", dtype=dtype) / (9 * channels) ** 0.5
        bias = torch.randn(outputs, device="cuda", dtype=dtype)
        tensors = (x, reference, offset, mask, weight, bias)
        made += [deform_case(kernels, label, *tensors), adabd_case(kernels, label, *tensors)]
        made.append(volume_case(kernels, label, x, reference))
    return made


def deform_case(
    kernels: Any, label: str, x: Any, _: Any, offset: Any, mask: Any, weight: Any, bias: Any
) -> Case:
    runs: dict[str, Run] = {"edgeflow": lambda: kernels.deform_conv2d(x, weight, offset, bias, mask)}
    if x.dtype == torch.float16:
        last = x.contiguous(memory_format=torch.channels_last)
        runs["edgeflow, channels last"] = lambda: kernels.deform_conv2d(last, weight, offset, bias, mask)
    if torchvision:
        same = offset.to(x.dtype), mask.to(x.dtype)
        runs["torchvision"] = lambda: torchvision.ops.deform_conv2d(
            x, same[0], weight, bias, 1, 1, 1, same[1]
        )
    runs["grid_sample"] = lambda: torch_kernels.deform_conv2d(x, weight, offset, bias, mask)
    exact = [item.double() for item in (x, weight, offset, bias, mask)]
    output = x.numel() // x.shape[1] * len(weight)
    return Case(
        f"deform_conv2d {label}",
        runs,
        lambda: torch_kernels.deform_conv2d(*exact),
        moved=nbytes(x, offset, mask, weight, bias) + output * x.element_size(),
        products=output * weight[0].numel(),
    )


def adabd_case(
    kernels: Any, label: str, x: Any, reference: Any, offset: Any, mask: Any, weight: Any, _: Any
) -> Case:
    runs: dict[str, Run] = {"edgeflow": lambda: kernels.adabd(x, reference, offset, mask, weight)}
    if x.dtype == torch.float16:
        last = [item.contiguous(memory_format=torch.channels_last) for item in (x, reference)]
        runs["edgeflow, channels last"] = lambda: kernels.adabd(*last, offset, mask, weight)
    if torchvision:
        moved, shares = offset.to(x.dtype), mask.to(x.dtype)
        still, rest = torch.zeros_like(moved), 1 - shares
        deform = torchvision.ops.deform_conv2d
        runs["torchvision, twice"] = lambda: (
            deform(x, still, weight, None, 1, 1, 1, shares)
            + deform(reference, moved, weight, None, 1, 1, 1, rest)
        )
    runs["grid_sample"] = lambda: torch_kernels.adabd(x, reference, offset, mask, weight)
    exact = [item.double() for item in (x, reference, offset, mask, weight)]
    output = x.numel() // x.shape[1] * len(weight)
    return Case(
        f"adabd {label}",
        runs,
        lambda: torch_kernels.adabd(*exact),
        moved=nbytes(x, reference, offset, mask, weight) + output * x.element_size(),
        products=output * weight[0].numel(),
    )


def volume_case(kernels: Any, label: str, first: Any, second: Any, radius: int = 4) -> Case:
    output = first.numel() // first.shape[1] * (2 * radius + 1) ** 2
    return Case(
        f"cost_volume {label.split(' ')[0]}, radius {radius}",
        {
            "edgeflow": lambda: kernels.cost_volume(first, second, radius),
            "torch, as exported": lambda: cost_volume(first, second, radius),
        },
        lambda: cost_volume(first.double(), second.double(), radius),
        moved=nbytes(first, second) + output * first.element_size(),
        products=output * first.shape[1],
    )


def measure(case: Case, dtype: torch.dtype, peaks: tuple[float, float], device: str) -> list[dict[str, Any]]:
    """Compare every way with float64, then time all of them in turn; one record each."""
    wanted = case.exact()
    errors = {name: float((run().double() - wanted).abs().max()) for name, run in case.runs.items()}
    graphs = {name: captured(run) for name, run in case.runs.items()}
    times: dict[str, list[float]] = {name: [] for name in graphs}
    for number in range(ROUNDS + 3):
        for name, graph in graphs.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            graph.replay()
            end.record()
            end.synchronize()
            if number >= 3:
                times[name].append(start.elapsed_time(end) / CALLS * 1e3)
    roof = max(case.moved / peaks[0], case.products / peaks[1]) * 1e6
    print(
        f"\n{case.name}, {str(dtype)[6:]}: roofline {roof:.1f} us, largest value {float(wanted.abs().max()):.2f}"
    )
    rows = []
    for name, values in times.items():
        low, middle, high = np.percentile(values, (10, 50, 90))
        print(f"  {name:24} {middle:9.1f} us  (10-90%: {low:.1f}-{high:.1f})  error {errors[name]:.1e}")
        rows.append(
            record(
                gpu=device,
                case=case.name,
                dtype=str(dtype)[6:],
                way=name,
                us=round(float(middle), 2),
                us_10_90=[round(float(low), 2), round(float(high), 2)],
                roofline_us=round(roof, 2),
                largest_error=errors[name],
            )
        )
    return rows


def captured(run: Run) -> torch.cuda.CUDAGraph:
    """A graph of CALLS runs, warmed up."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(CALLS):
            run()
    return graph


def bandwidth() -> float:
    """Bytes read and written per second by a copy of 1 GiB."""
    source = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / seconds(lambda: target.copy_(source))


def product_rate(dtype: torch.dtype) -> float:
    """Multiplications per second of a large matrix product."""
    size = 8192
    left, right = (torch.randn(size, size, device="cuda", dtype=dtype) for _ in range(2))
    return float(size) ** 3 / seconds(lambda: left @ right)


def seconds(run: Run) -> float:
    """Median time of a run."""
    graph, times = captured(run), []
    for _ in range(10):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3 / CALLS)
    return float(np.median(times))


def nbytes(*tensors: torch.Tensor) -> int:
    """Bytes of tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


if __name__ == "__main__":
    main()
