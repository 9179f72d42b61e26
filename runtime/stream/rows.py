"""The tensors of one value: a row per region, each in the array where its engine wrote it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.errors import BundleError
from edgeflow.runtime.backends.memory import Memory

Array: TypeAlias = Any
"""A host array of numpy's, or an array of a device: see `edgeflow.runtime.backends.memory`."""
Scratch: TypeAlias = Callable[[int], Array]
"""Gives an array of that many rows to gather into."""


class Rows:
    """Where each region's row lies.

    Regions that took one route lie next to each other, so an engine mostly reads and writes
    slices in place; only a batch that straddles arrays is gathered.

    Args:
        count: number of regions.
    """

    def __init__(self, count: int) -> None:
        self._arrays: list[Array] = []
        self._source = np.full(count, -1, np.intp)
        self._row = np.zeros(count, np.intp)

    @staticmethod
    def of(array: Array, order: NDArray[np.intp] | None = None) -> Rows:
        """Rows that are those of one array, in its order or in another."""
        rows = Rows(len(array))
        rows.put(np.arange(len(array)), array)
        if order is not None:
            rows._row = order.copy()
        return rows

    def repeated(self, count: int) -> Rows:
        """The first region's row, for so many regions."""
        rows = Rows(0)
        rows._arrays = list(self._arrays)
        rows._source, rows._row = (np.full(count, own[0], np.intp) for own in (self._source, self._row))
        return rows

    def copy(self) -> Rows:
        """The same rows, to be changed without changing these; no tensor is copied."""
        rows = Rows(0)
        rows._arrays = list(self._arrays)
        rows._source, rows._row = self._source.copy(), self._row.copy()
        return rows

    def put(self, regions: NDArray[np.intp], array: Array) -> None:
        """Let the regions' rows be the first rows of an array."""
        self._source[regions] = len(self._arrays)
        self._row[regions] = np.arange(len(regions))
        self._arrays.append(array)

    def keep(self, regions: NDArray[np.intp], other: Rows) -> None:
        """Let the regions' rows be those of another value; no tensor is copied."""
        self._source[regions] = other._source[regions] + len(self._arrays)
        self._row[regions] = other._row[regions]
        self._arrays += other._arrays

    def take(
        self, regions: NDArray[np.intp], memory: Memory, scratch: Scratch, batch: int | None = None
    ) -> Array:
        """The regions' rows as one array: a slice in place where they lie together.

        Args:
            regions: which ones, in order.
            memory: copies rows that do not lie together.
            scratch: where to gather them otherwise.
            batch: rows wanted; the last region is repeated to fill them.

        Raises:
            BundleError: some were made by nothing.
        """
        count = batch or len(regions)
        source, row = self._source[regions], self._row[regions]
        if (source < 0).any():
            raise _unmade()
        if source[0] == source[-1] and (source == source[0]).all():
            array = self._arrays[source[0]]
            first = int(row[0])
            if count == len(regions) and (row == np.arange(first, first + count)).all():
                together: Array = array[first : first + count]
                return together
        gathered = scratch(count)
        source, row = (np.pad(places, (0, count - len(regions)), "edge") for places in (source, row))
        bounds = [0, *(np.flatnonzero(np.diff(source)) + 1).tolist(), count]
        for first, last in pairwise(bounds):
            memory.copy_rows(self._arrays[source[first]], row[first:last], gathered[first:last])
        return gathered

    @property
    def made(self) -> bool:
        """Whether every region has a row: none has one where nothing ran, which is only read where something did."""
        return bool((self._source >= 0).all())

    def row(self, region: int) -> Array:
        """One region's tensor.

        Raises:
            BundleError: nothing made it.
        """
        if self._source[region] < 0:
            raise _unmade()
        found: Array = self._arrays[self._source[region]][self._row[region]]
        return found


def _unmade() -> BundleError:
    return BundleError(
        "a step reads what no engine makes on this route: the bundle's plan is damaged; export it again"
    )
