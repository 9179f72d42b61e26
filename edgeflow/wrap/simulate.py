"""What routes would have made of a clip, and what that would have taken.

What the network makes of a tile does not depend on the routes that were taken before. So the network runs on the clip once, and
routes are tried by looking up what would have been copied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log10

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeflow.flow import Axis, Priced
from edgeflow.flow.tensors import to_tensor
from edgeflow.wrap.cut import Cut
from edgeflow.wrap.film import Film, Picture
from edgeflow.wrap.model import Routing, Tiling
from edgeflow.wrap.router import FrameScores, TileScores

ASSUMED_DB = 35.0
"""How far from the truth a network is taken to be, in dB of PSNR, where the truth is not known."""
EXTENT = Axis("tiles", "whole")


@dataclass(frozen=True)
class Outcome:
    """What routes would have made of a clip.

    Attributes:
        time: of all frames over the network's on whole frames.
        error: mean squared error against the static network, in squared levels of 255.
        drop: dB of PSNR that this costs, see `drop_of`.
        shares: of all tiles, by the way they took; `whole` where the frame was computed whole.
    """

    time: float
    error: float
    drop: float
    shares: dict[str, float]


def drop_of(error: float, against_truth: tuple[float, float] | None = None) -> float:
    """DB of PSNR that routing costs.

    Args:
        error: mean squared error against the static network, in squared levels of 255.
        against_truth: the same against the truth, of the routed and of the static network. Where that is not known, the static
            network is taken to be `ASSUMED_DB` from it, and its errors to be independent of what routes change.

    >>> round(drop_of(255**2 / 10**5.1), 2)  # 51 dB from the static network
    0.11
    """
    if against_truth is not None:
        routed, static = against_truth
        return 10 * log10(max(routed, 1e-9) / max(static, 1e-9))
    return 10 * log10(1 + error / (255.0**2 * 10 ** (-ASSUMED_DB / 10)))


@torch.no_grad()
def simulate(cut: Cut, images: int, tiling: Tiling, routing: Routing) -> Outcome:
    """Route a clip.

    Args:
        cut: its tiles.
        images: frames that a call reads.
        tiling: how they were cut, and what they cost.
        routing: what decides.
    """
    film, ways, count = cut.film, Axis(*routing.ways), len(cut)
    rule, scores_of = (
        Priced(routing.price, routing.costs(tiling)),
        TileScores(routing.copy, routing.half, images),
    )
    extent = _Extent(cut, tiling, routing)
    known, seen = torch.zeros(count, 1), cut.tiles(0)
    source, half = np.zeros(count, np.intp), np.zeros(count, bool)
    taken: Counter[str] = Counter()
    errors, truths = [], []
    for call in range(len(film.calls)):
        tiles = cut.tiles(call)
        chosen = ["whole"] * count
        if not extent.whole(call):
            scores = scores_of(*tiles, *seen, known)
            chosen = [routing.ways[place] for place in rule.decide(scores.numpy(), ways)]
        new = np.array([way != "copy" for way in chosen])
        source[new], half[new] = call, np.array([way == "half" for way in chosen])[new]
        mask = torch.from_numpy(new)[:, None, None, None]
        seen = [torch.where(mask, now, before) for now, before in zip(tiles, seen, strict=True)]
        known[torch.from_numpy(new)] = 1.0
        taken.update(chosen)
        errors.append(_error(cut, film.static[call], source, half))
        if film.truth:
            truths.append(_error(cut, film.truth[call], source, half))
    shares = {way: taken[way] / sum(taken.values()) for way in (*routing.ways, "whole")}
    costs = dict(zip(routing.ways, routing.costs(tiling), strict=True)) | {"whole": 1.0}
    against = (float(np.mean(truths)), _static_error(film)) if truths else None
    error, time = (
        float(np.mean(errors)),
        tiling.look + sum(share * costs[way] for way, share in shares.items()),
    )
    return Outcome(time, error, drop_of(error, against), shares)


class _Extent:
    """Which frames are computed whole, one after another."""

    def __init__(self, cut: Cut, tiling: Tiling, routing: Routing) -> None:
        self._film, self._grid = cut.film, cut.grid
        self._rule = routing.spread(tiling)
        self._scores = (
            FrameScores(routing.copy, (cut.grid.rows, cut.grid.columns), cut.film.size) if cut.grid else None
        )
        self._last: Tensor | None = None

    def whole(self, call: int) -> bool:
        if self._scores is None:
            return False
        look = self._scores(*map(to_tensor, self._film.calls[call]))
        known = torch.full((1, 1), float(self._last is not None))
        parts, _ = self._scores.of(look, look if self._last is None else self._last, known)
        self._last = look
        return bool(self._rule.decide(parts.numpy(), EXTENT)[0])


def _error(
    cut: Cut, wanted: Picture, source: NDArray[np.intp], half: Sequence[bool] | NDArray[np.bool_]
) -> float:
    """Mean squared error of a picture whose patches were made of the calls `source`, in squared levels."""
    film, total = cut.film, 0.0
    for tile, place in enumerate(cut.places):
        made = (film.half if half[tile] else film.static)[source[tile]]
        if made is not wanted:
            total += float(film.squared(made[place], wanted[place]).sum())
    return total / float(wanted[0].size)


def _static_error(film: Film) -> float:
    """The static network's mean squared error against the truth."""
    pairs = zip(film.static, film.truth, strict=True)
    return float(np.mean([film.squared(made, true).mean() for made, true in pairs]))
