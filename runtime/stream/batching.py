"""Covers a group of regions with the static batch sizes at hand."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache


def cover(count: int, cost: Mapping[int, float]) -> tuple[int, ...]:
    """The batch sizes that run `count` regions at least cost, largest first.

    Their sum may exceed `count`: the last batch is then padded, where that is cheaper.

    Args:
        count: regions of the group, at least 1.
        cost: per static batch size, the time of one run; any unit.

    >>> cover(7, {1: 1.2, 2: 2.1, 4: 4.0})
    (4, 2, 1)
    >>> cover(3, {1: 1.0, 4: 1.1})
    (4,)
    """
    return _cover(count, tuple(sorted(cost.items())))


@lru_cache(maxsize=4096)
def _cover(count: int, cost: tuple[tuple[int, float], ...]) -> tuple[int, ...]:
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for regions in range(1, count + 1):
        options = (
            (best[max(regions - size, 0)][0] + price, (*best[max(regions - size, 0)][1], size))
            for size, price in cost
        )
        best.append(min(options, key=lambda option: (option[0], len(option[1]))))
    return tuple(sorted(best[count][1], reverse=True))
