"""The kernels on CUDA tensors, and torch's own ways to compute the same. Used on a machine with a GPU."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from kernel_calls import sizes_of

Tensor = torch.Tensor


class TorchKernels:
    """A library of kernels, called with CUDA tensors on torch's current stream.

    Images and outputs that are float16 and channels-last in torch's sense are taken and made as such.
    """

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        for name in ("edgeflow_deform_conv2d_workspace", "edgeflow_adabd_workspace"):
            getattr(self._library, name).restype = ctypes.c_size_t

    def deform_conv2d(
        self,
        x: Tensor,
        weight: Tensor,
        offset: Tensor,
        bias: Tensor | None,
        mask: Tensor | None,
        *,
        strides: tuple[int, int] = (1, 1),
        pads: tuple[int, int, int, int] = (1, 1, 1, 1),
        dilations: tuple[int, int] = (1, 1),
        groups: int = 1,
        offset_groups: int = 1,
    ) -> Tensor:
        """Tensors as in `operators.h`."""
        geometry = [*weight.shape[2:], *strides, *pads[:2], *dilations, groups, offset_groups]
        last = _channels_last(x)
        sizes = sizes_of("deform_conv2d")(*x.shape, len(weight), *geometry, *offset.shape[2:], _half(x), last)
        output = _empty((len(x), len(weight), *offset.shape[2:]), x)
        workspace = self._workspace("edgeflow_deform_conv2d", sizes)
        self._call("edgeflow_deform_conv2d", sizes, x, weight, offset, bias, mask, output, workspace)
        return output

    def adabd(
        self, current: Tensor, reference: Tensor, offset: Tensor, mask: Tensor, weight: Tensor
    ) -> Tensor:
        """Tensors as in `operators.h`."""
        sizes = sizes_of("adabd")(*current.shape, len(weight), _half(current), _channels_last(current))
        output = _empty((len(current), len(weight), *current.shape[2:]), current)
        workspace = self._workspace("edgeflow_adabd", sizes)
        self._call("edgeflow_adabd", sizes, current, reference, offset, mask, weight, output, workspace)
        return output

    def cost_volume(self, first: Tensor, second: Tensor, radius: int) -> Tensor:
        """Tensors as in `operators.h`."""
        output = first.new_empty((len(first), (2 * radius + 1) ** 2, *first.shape[2:]))
        sizes = sizes_of("cost_volume")(*first.shape, radius, _half(first))
        self._call("edgeflow_cost_volume", sizes, first, second, output)
        return output

    def _workspace(self, name: str, sizes: ctypes.Structure) -> Tensor:
        size = getattr(self._library, f"{name}_workspace")(ctypes.byref(sizes))
        return torch.empty(size, dtype=torch.uint8, device="cuda")

    def _call(self, name: str, sizes: ctypes.Structure, *tensors: Tensor | None) -> None:
        pointers = [ctypes.c_void_p(None if tensor is None else tensor.data_ptr()) for tensor in tensors]
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        if status := getattr(self._library, name)(ctypes.byref(sizes), *pointers, stream):
            raise RuntimeError(f"{name} returned CUDA error {status}")


def deform_conv2d(
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    *,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (1, 1, 1, 1),
    dilations: tuple[int, int] = (1, 1),
) -> Tensor:
    """Modulated deformable convolution, of one group and one offset group, by `grid_sample` and a product."""
    _, _, kernel_height, kernel_width = weight.shape
    height, width = x.shape[2:]
    rows = torch.arange(offset.shape[2], device=x.device).view(-1, 1) * strides[0] - pads[0]
    columns = torch.arange(offset.shape[3], device=x.device) * strides[1] - pads[1]
    total: Any = 0 if bias is None else bias.view(-1, 1, 1)
    for tap in range(kernel_height * kernel_width):
        down, right = divmod(tap, kernel_width)
        ys = rows + down * dilations[0] + offset[:, 2 * tap]
        xs = columns + right * dilations[1] + offset[:, 2 * tap + 1]
        grid = torch.stack([xs * (2 / max(width - 1, 1)) - 1, ys * (2 / max(height - 1, 1)) - 1], 3)
        sampled = F.grid_sample(x, grid.to(x.dtype), padding_mode="zeros", align_corners=True)
        if mask is not None:
            sampled = sampled * mask[:, tap : tap + 1].to(x.dtype)
        total = total + F.conv2d(sampled, weight[:, :, down : down + 1, right : right + 1])
    return total  # type: ignore[no-any-return]


def adabd(current: Tensor, reference: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Shortcut-V2V, equation 6, with two such convolutions."""
    still = torch.zeros_like(offset)
    return deform_conv2d(current, weight, still, None, mask) + deform_conv2d(
        reference, weight, offset, None, 1 - mask
    )


def _half(x: Tensor) -> int:
    return int(x.dtype == torch.float16)


def _channels_last(x: Tensor) -> int:
    return int(not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last))


def _empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    order = torch.channels_last if _channels_last(like) else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=order)
