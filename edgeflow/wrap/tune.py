"""How changes of a network's input become changes of its output on a clip, and the price that keeps routes within a gate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from edgeflow.ir.errors import FlowError
from edgeflow.wrap.cut import Cut
from edgeflow.wrap.film import Film
from edgeflow.wrap.form import Form
from edgeflow.wrap.model import Routing, Tiling
from edgeflow.wrap.router import Fit, TileScores
from edgeflow.wrap.simulate import Outcome, simulate

MOST = 8.0
"""Levels, of 255, by which no square of 8x8 pixels may be expected to be wrong."""
LEAST = 0.05
"""The same, of a price at which next to nothing is copied."""
LAGS = (1, 2, 4)
"""Calls between two whose differences are measured."""
SAMPLES = 6
"""Calls of a clip that are measured at every lag, about."""
STEPS = 7
"""Halvings of the range of prices."""
MARGIN = 0.6
"""The share of the gate that is tuned for: frames that follow differ from those that were tuned on."""


@dataclass(frozen=True)
class Tuned:
    """A price that was found.

    Attributes:
        tiling: how frames are cut.
        routing: what decides.
        outcome: what it would have made of the clip.
    """

    tiling: Tiling
    routing: Routing
    outcome: Outcome


class Tuner:
    """Tries prices on a clip, for one tiling.

    Args:
        film: the clip.
        form: what the network takes and makes.
        tiling: how frames are cut, and what tiles cost.
    """

    def __init__(self, film: Film, form: Form, tiling: Tiling) -> None:
        self._film, self._form, self._tiling = film, form, tiling
        self._cut = Cut(film, form, tiling)

    def fitted(self) -> Routing:
        """What changes of the input come to in the picture, and what half the size does; at a price of nothing.

        Raises:
            FlowError: nothing changes in the clip.
        """
        copies, halves = list(self._copies()), list(self._halves())
        if not copies:
            raise FlowError(
                "the network makes the same of all frames of the clip, so that what a change costs cannot be measured: give another clip"
            )
        return Routing(0.0, power_law(copies), power_law(halves) if halves else None)

    def best(self, routing: Routing, max_drop: float) -> Tuned:
        """The highest price whose drop stays within a gate."""
        low, high = (levels**2 / self._tiling.full for levels in (LEAST, MOST))
        found = self._at(routing, low)
        for _ in range(STEPS):
            middle = (low * high) ** 0.5
            tried = self._at(routing, middle)
            if tried.outcome.drop <= MARGIN * max_drop:
                low, found = middle, tried
            else:
                high = middle
        return found

    def _at(self, routing: Routing, price: float) -> Tuned:
        priced = replace(routing, price=price)
        return Tuned(self._tiling, priced, simulate(self._cut, self._form.images, self._tiling, priced))

    def _calls(self, first: int) -> range:
        return range(first, len(self._film.calls), max(len(self._film.calls) // SAMPLES, 1))

    @torch.no_grad()
    def _copies(self) -> Iterator[tuple[float, float]]:
        """What changed most in a patch, and how much its picture did."""
        static = self._film.static
        for lag in LAGS:
            for call in self._calls(lag):
                worst = self._cut.worst(static[call - lag], static[call])
                yield from _both(self._cut.changed(call, call - lag), worst)

    @torch.no_grad()
    def _halves(self) -> Iterator[tuple[float, float]]:
        """What half the size loses of a tile, and how wrong its picture gets by that."""
        measure = TileScores(Fit(1.0, 1.0), None, self._form.images)
        for call in self._calls(0) if self._film.half else ():
            lost = measure.lost(self._cut.tiles(call)[-1])[:, 0].tolist()
            yield from _both(lost, self._cut.worst(self._film.half[call], self._film.static[call]))


def _both(measured: Sequence[float], errors: Sequence[float]) -> Iterator[tuple[float, float]]:
    """Pairs of which neither is nothing."""
    for one, other in zip(measured, errors, strict=True):
        if one > 1e-6 and other > 1e-6:
            yield one, other


def power_law(pairs: Sequence[tuple[float, float]]) -> Fit:
    """The line through the logarithms of what was measured and of the errors that it came to.

    >>> fit = power_law([(1.0, 2.0), (4.0, 8.0), (9.0, 18.0)])
    >>> round(fit.factor, 3), round(fit.power, 3)
    (2.0, 1.0)
    """
    x, y = (np.log([pair[place] for pair in pairs]) for place in (0, 1))
    spread = float(np.square(x - x.mean()).sum())
    power = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread > 0 else 1.0
    power = min(max(power, 0.25), 2.0)
    return Fit(float(np.exp(y.mean() - power * x.mean())), power)
