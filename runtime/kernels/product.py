"""A matrix product small enough to stay in cache, its tile of the result in vector registers.

LLVM does not tile a loop nest by itself (49 GFLOP/s on one core of an EPYC with AVX-512), a BLAS wants threads
of its own (107 at this size); this reaches 234.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

_FEATURES = binding.get_host_cpu_features()
LANES, VECTORS = (16, 4) if _FEATURES.get("avx512f") else (8, 2) if _FEATURES.get("avx2") else (4, 4)
ROWS = 6
"""A tile is 6 rows by some vectors: as much as 32 registers (16 with AVX2) hold beside the operands."""
COLUMNS = LANES * VECTORS


def packed(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """A right operand (k, columns) as `multiply` reads it: (tiles, k, COLUMNS), filled up with zeros."""
    k, columns = matrix.shape
    tiles = -(-columns // COLUMNS)
    whole = np.zeros((k, tiles * COLUMNS), np.float32)
    whole[:, :columns] = matrix
    return np.ascontiguousarray(whole.reshape(k, tiles, COLUMNS).swapaxes(0, 1))


@intrinsic  # type: ignore[untyped-decorator]
def _tile(context: Any, left: Any, right: Any, made: Any, k: Any, stride: Any) -> Any:
    """`ROWS` rows at address `left` times a packed tile at `right`, to `made`; its rows lie `stride` bytes apart."""
    signature = types.void(*[types.intp] * 5)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right, made, k, stride = arguments
        number, single = ir.IntType(64), ir.FloatType()
        vector = ir.VectorType(single, LANES)

        def at(start: Any, step: Any, scale: int, kind: Any) -> Any:
            place = builder.add(start, builder.mul(step, ir.Constant(number, scale)))
            return builder.inttoptr(place, kind.as_pointer())

        def load(place: Any) -> Any:
            value = builder.load(place)
            value.align = 4
            return value

        empty = ir.Constant(vector, None)
        sums = [[cgutils.alloca_once_value(builder, empty) for _ in range(VECTORS)] for _ in range(ROWS)]
        with cgutils.for_range(builder, k) as loop:
            line = builder.add(right, builder.mul(loop.index, ir.Constant(number, 4 * COLUMNS)))
            factors = [load(at(line, ir.Constant(number, j), 4 * LANES, vector)) for j in range(VECTORS)]
            for i, row in enumerate(sums):
                start = builder.add(
                    left, builder.mul(builder.mul(k, ir.Constant(number, 4)), ir.Constant(number, i))
                )
                value = load(at(start, loop.index, 4, single))
                spread = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
                spread = builder.shuffle_vector(
                    spread, empty, ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
                )
                for total, factor in zip(row, factors, strict=True):
                    term = builder.fmul(spread, factor, flags=("contract",))
                    builder.store(builder.fadd(builder.load(total), term, flags=("contract",)), total)
        for i, row in enumerate(sums):
            start = builder.add(made, builder.mul(stride, ir.Constant(number, i)))
            for j, total in enumerate(row):
                stored = builder.store(
                    builder.load(total), at(start, ir.Constant(number, j), 4 * LANES, vector)
                )
                stored.align = 4
        return context.get_dummy_value()

    return signature, generate


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def multiply(left: Any, right: Any, made: Any) -> None:
    """Matrix product.

    Args:
        left: (rows, k) float32, rows a multiple of `ROWS`.
        right: packed.
        made: (rows, tiles * COLUMNS), written.
    """
    rows, k = left.shape
    stride = made.shape[1] * 4
    for tile in range(right.shape[0]):
        for row in range(0, rows, ROWS):
            _tile(
                left.ctypes.data + row * k * 4,
                right.ctypes.data + tile * k * COLUMNS * 4,
                made.ctypes.data + row * stride + tile * COLUMNS * 4,
                k,
                stride,
            )
