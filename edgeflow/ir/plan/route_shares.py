"""How often routes were taken, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from edgeflow.ir.route import Choice

MOST_WHOLE = 32
"""Up to so many distinct routes have a line each; where there are more, every value of every variable has one."""


def in_words(route: Mapping[str, Choice]) -> str:
    """A route in words.

    >>> in_words({"scale": 2, "exit": 3})
    'scale=2 exit=3'
    """
    return " ".join(f"{name}={value}" for name, value in route.items())


def shares(routes: Sequence[Mapping[str, Choice]]) -> dict[str, float]:
    """Which share of regions took which route; where routes are many, which share chose which value of a variable.

    >>> shares([{"exit": 3}, {"exit": 3}, {"exit": 1}, {"exit": 3}])
    {'exit=1': 0.25, 'exit=3': 0.75}
    """
    counted = Counter(map(in_words, routes))
    if len(counted) > MOST_WHOLE:
        counted = Counter(f"{name}={value}" for route in routes for name, value in route.items())
    return {words: count / len(routes) for words, count in sorted(counted.items())}
