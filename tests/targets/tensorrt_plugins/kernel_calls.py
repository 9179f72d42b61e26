"""Calls the plugins' kernels: run on the CPU by `cuda_on_cpu.h`, or compiled for the GPU at hand."""

from __future__ import annotations

import ctypes
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

HERE = Path(__file__).parent
PLUGINS = HERE.parents[2] / "targets/tensorrt_plugins"
SOURCES = sorted((PLUGINS / "kernels").glob("*.cu"))
MARGIN = 4096
"""Bytes around every array, which must stay as they are: a NaN in any float type."""


HEADER = (PLUGINS / "kernels/operators.h").read_text()


@cache
def sizes_of(operator: str) -> type[ctypes.Structure]:
    """The structure that `edgeflow_OPERATOR` takes, as `operators.h` has it: integers of 32 bits."""
    (name,) = re.findall(rf"int edgeflow_{operator}\((\w+) const\* sizes", HEADER)
    (body,) = re.findall(rf"typedef struct \{{([^}}]*)\}} {name};", HEADER)
    fields = [field.strip() for line in re.findall(r"int32_t ([^;]*);", body) for field in line.split(",")]
    return type(name, (ctypes.Structure,), {"_fields_": [(field, ctypes.c_int32) for field in fields]})


def compile_for_cpu(folder: Path) -> Path:
    """The kernels as a library that runs them on the CPU."""
    library = folder / "kernels_on_cpu.so"
    flags = ["-std=c++17", "-O2", "-fPIC", "-shared", "-DEDGEFLOW_CUDA_ON_CPU", f"-I{HERE}"]
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
    subprocess.run(["g++", *flags, *warnings, "-x", "c++", *SOURCES, "-o", library], check=True)
    return library


def compile_for_gpu(folder: Path) -> Path:
    """The kernels as a library for the GPU of this machine."""
    library = folder / "kernels.so"
    flags = ["-std=c++17", "-O3", "-arch=native", "-shared", "-Xcompiler=-fPIC"]
    subprocess.run(["nvcc", *flags, *SOURCES, "-o", library], check=True)
    return library


class HostMemory:
    """An array in the host's memory, between margins."""

    def __init__(self, array: Array) -> None:
        self._like = array
        self._bytes = np.full(array.nbytes + 3 * MARGIN, 0xFF, np.uint8)
        start = -self._bytes.ctypes.data % MARGIN + MARGIN
        self._inside = slice(start, start + array.nbytes)
        self._bytes[self._inside] = np.frombuffer(array.tobytes(), np.uint8)
        self.address = self._bytes.ctypes.data + start

    def read(self) -> Array:
        """What lies there now; the margins are checked."""
        around = np.delete(self._bytes, self._inside)
        assert (around == 0xFF).all(), "a kernel wrote beside its output"
        return self._bytes[self._inside].view(self._like.dtype).reshape(self._like.shape)


class DeviceMemory:
    """An array in the GPU's memory, between margins."""

    def __init__(self, array: Array) -> None:
        import torch

        self._like = array
        data = np.full(array.nbytes + 2 * MARGIN, 0xFF, np.uint8)
        data[MARGIN : MARGIN + array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)
        self._bytes = torch.from_numpy(data).cuda()
        self.address = self._bytes.data_ptr() + MARGIN

    def read(self) -> Array:
        """What lies there now; the margins are checked."""
        data = self._bytes.cpu().numpy()
        end = MARGIN + self._like.nbytes
        assert (data[:MARGIN] == 0xFF).all() and (data[end:] == 0xFF).all(), (
            "a kernel wrote beside its output"
        )
        return data[MARGIN:end].view(self._like.dtype).reshape(self._like.shape)


class Kernels:
    """The kernels of a library, called with NumPy arrays."""

    def __init__(self, library: Path, memory: type[HostMemory] | type[DeviceMemory]) -> None:
        self.library = ctypes.CDLL(str(library))
        self._memory = memory
        for name in re.findall(r"size_t (edgeflow_\w+_workspace)", HEADER):
            getattr(self.library, name).restype = ctypes.c_size_t

    def run(
        self, operator: str, inputs: list[Array], shape: tuple[int, ...] | None = None, **sizes: int
    ) -> Array:
        """Any operator of `operators.h`, channels first.

        Args:
            operator: its name, `cost_volume`.
            inputs: in the header's order; the first has the type, and batch, channels, height and width.
            shape: of the output, if it is not the first input's.
            sizes: what else the header's structure has, but `half`.
        """
        first = inputs[0]
        known = dict(zip(("batch", "channels", "height", "width"), first.shape, strict=True))
        structure = sizes_of(operator)(**known, half=int(first.dtype == np.float16), **sizes)
        return self._run(
            f"edgeflow_{operator}", structure, [*inputs], shape or first.shape, first.dtype, False
        )

    def deform_conv2d(
        self,
        x: Array,
        weight: Array,
        offset: Array,
        bias: Array | None,
        mask: Array | None,
        *,
        strides: tuple[int, int],
        pads: tuple[int, int, int, int],
        dilations: tuple[int, int],
        groups: int,
        offset_groups: int,
        channels_last: bool = False,
    ) -> Array:
        """Arrays as in `operators.h`; `channels_last` lays x and the output out so, on the way."""
        outputs, _, kernel_height, kernel_width = weight.shape
        half = int(x.dtype == np.float16)
        geometry = [kernel_height, kernel_width, *strides, *pads[:2], *dilations, groups, offset_groups]
        sizes = sizes_of("deform_conv2d")(
            *x.shape, outputs, *geometry, *offset.shape[2:], half, int(channels_last)
        )
        inputs = [_last(x) if channels_last else x, weight, offset, bias, mask]
        shape = (len(x), outputs, *offset.shape[2:])
        return self._run("edgeflow_deform_conv2d", sizes, inputs, shape, x.dtype, channels_last)

    def adabd(
        self,
        current: Array,
        reference: Array,
        offset: Array,
        mask: Array,
        weight: Array,
        channels_last: bool = False,
    ) -> Array:
        """Arrays as in `operators.h`."""
        half = int(current.dtype == np.float16)
        sizes = sizes_of("adabd")(*current.shape, len(weight), half, int(channels_last))
        features = [_last(item) if channels_last else item for item in (current, reference)]
        inputs = [*features, offset, mask, weight]
        shape = (len(current), len(weight), *current.shape[2:])
        return self._run("edgeflow_adabd", sizes, inputs, shape, current.dtype, channels_last)

    def cost_volume(self, first: Array, second: Array, radius: int) -> Array:
        """Arrays as in `operators.h`."""
        shape = (len(first), (2 * radius + 1) ** 2, *first.shape[2:])
        return self.run("cost_volume", [first, second], shape, radius=radius)

    def adacof(self, image: Array, weight: Array, alpha: Array, beta: Array, dilation: int) -> Array:
        """Arrays as in `operators.h`."""
        side = round(weight.shape[1] ** 0.5)
        return self.run("adacof", [image, weight, alpha, beta], side=side, dilation=dilation)

    def splat(self, values: Array, flow: Array) -> Array:
        """Arrays as in `operators.h`."""
        return self.run("splat", [values, flow])

    def _run(
        self,
        name: str,
        sizes: ctypes.Structure,
        inputs: list[Array | None],
        shape: tuple[int, ...],
        dtype: Any,
        channels_last: bool,
    ) -> Array:
        n, c, h, w = shape
        output = self._memory(_nans((n, h, w, c) if channels_last else shape, dtype))
        placed = [None if item is None else self._memory(np.ascontiguousarray(item)) for item in inputs]
        arguments = [None if item is None else ctypes.c_void_p(item.address) for item in placed]
        arguments.append(ctypes.c_void_p(output.address))
        workspace = None
        if count := getattr(self.library, f"{name}_workspace", None):
            workspace = self._memory(_nans((count(ctypes.byref(sizes)),), np.uint8))
            arguments.append(ctypes.c_void_p(workspace.address))
        status = getattr(self.library, name)(ctypes.byref(sizes), *arguments, self._stream())
        if status:
            raise RuntimeError(f"{name} returned CUDA error {status}")
        if workspace:
            workspace.read()
        result = output.read()
        return result.transpose(0, 3, 1, 2) if channels_last else result

    def _stream(self) -> ctypes.c_void_p:
        if self._memory is HostMemory:
            return ctypes.c_void_p(None)
        import torch

        return ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)


def _last(array: Array) -> Array:
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1))


def _nans(shape: tuple[int, ...], dtype: Any) -> Array:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.full(size, 0xFF, np.uint8).view(dtype).reshape(shape)
