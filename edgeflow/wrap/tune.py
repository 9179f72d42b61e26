"""What a network's copies and halves cost in quality on a clip, and the price that keeps that within a gate.

What the network makes of a tile does not depend on the routes that were taken before. So it runs on the clip once; every price is
then tried by looking up what would have been copied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import log10

import numpy as np
import torch
from torch import Tensor

from edgeflow.flow import Axis, Priced, Spread
from edgeflow.flow.tensors import cut_tile, to_tensor
from edgeflow.ir.errors import FlowError
from edgeflow.ir.tiles import Region, TileGrid
from edgeflow.wrap.film import Film, Picture, blocks
from edgeflow.wrap.form import Form
from edgeflow.wrap.model import Routing, Tiling
from edgeflow.wrap.router import Fit, FrameScores, TileScores

ASSUMED_DB = 35.0
"""How far from the truth a network is taken to be, in dB of PSNR, where the truth is not known."""
MOST = 8.0
"""Levels, of 255, by which no square of 8x8 pixels may be expected to be wrong."""
LEAST = 0.05
"""The same, of a price that copies next to nothing."""
LAGS = (1, 2, 4)
STEPS = 7
"""Halvings of the range of prices."""
EXTENT = Axis("tiles", "whole")


@dataclass(frozen=True)
class Outcome:
    """What routes would have made of a clip.

    Attributes:
        time: of all frames over the network's on whole frames.
        error: mean squared error against the static network, in squared levels of 255.
        drop: dB that this costs.
        shares: of all tiles, by the way they took; `whole` where the frame was computed whole.
    """

    time: float
    error: float
    drop: float
    shares: dict[str, float]


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


def drop_of(error: float, film: Film, against_truth: tuple[float, float] | None = None) -> float:
    """DB of PSNR that routing costs.

    Args:
        error: mean squared error against the static network, in squared levels.
        film: the clip.
        against_truth: the same against the truth, of the routed and of the static network. Where it is not known, the static
            network is taken to be `ASSUMED_DB` from it, and its errors to be independent of the routes'.
    """
    if against_truth is not None:
        routed, static = against_truth
        return 10 * log10(max(routed, 1e-9) / max(static, 1e-9))
    return 10 * log10(1 + error / (255.0**2 * 10 ** (-ASSUMED_DB / 10)))


class Tuner:
    """Tries prices on a clip, for one tiling.

    Args:
        film: the clip.
        form: what the network takes and makes.
        tiling: how frames are cut, and what tiles cost.
    """

    def __init__(self, film: Film, form: Form, tiling: Tiling) -> None:
        self.film, self.form, self.tiling = film, form, tiling
        self.grid = TileGrid(*film.size, tiling.size, tiling.halo, form.unit)

    def fitted(self, halves: bool) -> Routing:
        """How changes of the input become changes of the picture, at a price of nothing.

        Raises:
            FlowError: nothing changes in the clip.
        """
        copies = list(self._copies())
        if not copies:
            raise FlowError(
                "nothing moves in the clip, so what a change costs cannot be seen: give one in which something does"
            )
        errors = list(self._halves()) if halves else []
        return Routing(0.0, _power_law(copies), _power_law(errors) if errors else None)

    def best(self, routing: Routing, max_drop: float) -> Tuned:
        """The highest price whose drop stays within a gate."""
        low, high = (levels**2 / self.tiling.full for levels in (LEAST, MOST))
        found = self._at(routing, low)
        for _ in range(STEPS):
            middle = (low * high) ** 0.5
            tried = self._at(routing, middle)
            if tried.outcome.drop <= max_drop:
                low, found = middle, tried
            else:
                high = middle
        return found

    def _at(self, routing: Routing, price: float) -> Tuned:
        priced = replace(routing, price=price)
        return Tuned(self.tiling, priced, self.outcome(priced))

    @torch.no_grad()
    def outcome(self, routing: Routing) -> Outcome:
        """What these routes would have made of the clip."""
        ways = Axis(*routing.ways)
        tile_rule = Priced(routing.price, routing.costs(self.tiling))
        frame_rule = Spread(routing.price, (0.0, self.tiling.full))
        tile_scores = TileScores(routing.copy, routing.half, self.form.images)
        frame_scores = FrameScores(routing.copy, (self.grid.rows, self.grid.columns))
        count = len(self.grid)
        look, known = None, torch.zeros(count, 1)
        seen: list[Tensor] = []
        source, half = np.zeros(count, int), np.zeros(count, bool)
        taken: Counter[str] = Counter()
        errors, truths = [], []
        for number, call in enumerate(self.film.calls):
            now = frame_scores(*map(to_tensor, call))
            parts, _ = frame_scores.of(
                now, now if look is None else look, torch.full((1, 1), float(look is not None))
            )
            look, tiles = now, self._tiles(number)
            if frame_rule.decide(parts.numpy(), EXTENT)[0]:
                new, chosen = np.ones(count, bool), ["whole"] * count
            else:
                scores, _ = tile_scores(*tiles, *(seen or tiles), known)
                chosen = [routing.ways[i] for i in tile_rule.decide(scores.numpy(), ways)]
                new = np.array([way != "copy" for way in chosen])
            taken.update(chosen)
            seen = [
                torch.where(torch.from_numpy(new)[:, None, None, None], a, b)
                for a, b in zip(tiles, seen or tiles, strict=True)
            ]
            known[torch.from_numpy(new)] = 1.0
            source[new], half[new] = number, np.array([way == "half" for way in chosen])[new]
            errors.append(self._error(self.film.static, number, source, half))
            if self.film.truth:
                truths.append(self._error(self.film.truth, number, source, half))
        return self._summed(taken, routing, errors, truths)

    def _summed(
        self, taken: Counter[str], routing: Routing, errors: list[float], truths: list[float]
    ) -> Outcome:
        total = sum(taken.values())
        shares = {way: taken[way] / total for way in (*routing.ways, "whole")}
        costs = dict(zip(routing.ways, routing.costs(self.tiling), strict=True)) | {"whole": 1.0}
        error, truth = float(np.mean(errors)), None
        if truths:
            pairs = zip(self.film.static, self.film.truth, strict=True)
            truth = float(np.mean(truths)), float(np.mean([self.film.squared(a, b).mean() for a, b in pairs]))
        time = sum(share * costs[way] for way, share in shares.items())
        return Outcome(time, error, drop_of(error, self.film, truth), shares)

    def _tiles(self, number: int) -> list[Tensor]:
        """The tiles of a call's frames, (tiles, 3, size, size) each."""
        frames = [to_tensor(frame) for frame in self.film.calls[number]]
        return [torch.cat([cut_tile(each, self.grid, i) for i in range(len(self.grid))]) for each in frames]

    def _error(self, wanted: Sequence[Picture], number: int, source: np.ndarray, half: np.ndarray) -> float:
        """Mean squared error of a frame whose tiles were made of the frames `source`."""
        total = 0.0
        for tile, region in enumerate(self.grid.regions):
            made = (self.film.half if half[tile] else self.film.static)[source[tile]]
            if made is not wanted[number]:
                place = self._place(region)
                total += float(self.film.squared(made[place], wanted[number][place]).sum())
        return total / float(wanted[number][0].size)

    def _place(self, region: Region) -> tuple[slice, slice, slice]:
        """Where a patch lies in a picture."""
        scale = self.form.scale
        return (
            slice(None),
            slice(scale * region.top, scale * region.bottom),
            slice(scale * region.left, scale * region.right),
        )

    def _worst(self, made: Picture, wanted: Picture) -> list[float]:
        """Of every patch the squared error of its worst square."""
        found = []
        for region in self.grid.regions:
            place = self._place(region)
            found.append(float(blocks(self.film.squared(made[place], wanted[place]), self.form.scale).max()))
        return found

    @torch.no_grad()
    def _copies(self) -> Iterator[tuple[float, float]]:
        """What changed most in a tile, and how much its picture did."""
        measure = TileScores(Fit(1.0, 1.0), None, self.form.images)
        for lag in LAGS:
            for number in range(lag, len(self.film.calls), max(len(self.film.calls) // 6, 1)):
                now, before = self._tiles(number), self._tiles(number - lag)
                scores, _ = measure(*now, *before, torch.ones(len(self.grid), 1))
                worst = self._worst(self.film.static[number - lag], self.film.static[number])
                yield from _both(-scores[:, 0], worst)

    @torch.no_grad()
    def _halves(self) -> Iterator[tuple[float, float]]:
        """What half the size loses of a tile, and how wrong its picture gets by that."""
        measure = TileScores(Fit(1.0, 1.0), Fit(1.0, 1.0), self.form.images)
        for number in range(0, len(self.film.calls), max(len(self.film.calls) // 6, 1)):
            lost = measure.lost(self._tiles(number)[-1])[:, 0]
            yield from _both(lost, self._worst(self.film.half[number], self.film.static[number]))


def _both(measured: Tensor, errors: Sequence[float]) -> Iterator[tuple[float, float]]:
    """Pairs of which neither is nothing."""
    for one, other in zip(measured.tolist(), errors, strict=True):
        if one > 1e-6 and other > 1e-6:
            yield one, other


def _power_law(pairs: Sequence[tuple[float, float]]) -> Fit:
    """The line through the logarithms of what was measured and of the errors that it came to."""
    x, y = (np.log([pair[place] for pair in pairs]) for place in (0, 1))
    spread = float(np.square(x - x.mean()).sum())
    power = float(((x - x.mean()) * (y - y.mean())).sum() / spread) if spread > 0 else 1.0
    power = min(max(power, 0.25), 2.0)
    return Fit(float(np.exp(y.mean() - power * x.mean())), power)
