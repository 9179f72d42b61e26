"""Which entries of a clip stand for all of it."""

from __future__ import annotations


def evenly(length: int, count: int) -> list[int]:
    """`count` evenly spaced positions in `range(length)`, each in the middle of its share.

    Source: TSM's sampling, int(tick / 2 + tick * i).
    """
    tick = length / count
    return [int(tick / 2 + tick * i) for i in range(count)]
