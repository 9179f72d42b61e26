"""Which parts of a frame took which route, and what that cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeflow.ir.plan import Plan
from edgeflow.ir.plan.routes import selected
from edgeflow.ir.program import FRAME, Tile
from edgeflow.ir.route import Axis, Choice
from edgeflow.ir.tiles import Region, TileGrid
from edgeflow.runtime.stream.trace import RegionTrace

Choices = Mapping[str, Sequence[Choice]]
"""Per variable, what every region took."""


class RegionRoutes:
    """Routes of the patches of a plan's first tiling; of the whole frame if there is none.

    Args:
        plan: that was run.
        grids: by the regions they make.
        axes: by variable.
        owners: the regions that decide each variable.
        size: (height, width) of the frames.
    """

    def __init__(
        self,
        plan: Plan,
        grids: Mapping[str, TileGrid],
        axes: Mapping[str, Axis],
        owners: Mapping[str, str],
        size: tuple[int, int],
    ) -> None:
        self._stages, self._axes, self._owners = plan.stages, axes, owners
        self._size, self._whole = size, (Region(0, 0, *size),)
        smaller = {step.regions: step.smaller for step in plan.steps if isinstance(step, Tile)}
        self._tiles: tuple[str, tuple[Region, ...]] | None = None
        for name, grid in grids.items():
            self._tiles = name, tuple(_times(region, smaller[name]) for region in grid.regions)
            break
        self._known: dict[tuple[str, tuple[tuple[str, Choice], ...]], int] = {}

    def of(self, choices: Choices) -> tuple[RegionTrace, ...]:
        """The frame's parts; the whole where what the frame took leaves tiles nothing to decide."""
        if self._tiles is None:
            return self._routed(FRAME, self._whole, choices)
        found = self._routed(*self._tiles, choices)
        if FRAME in self._owners.values() and not any(self._matters(each, choices) for each in found):
            return self._routed(FRAME, self._whole, choices)
        return found

    def _routed(self, regions: str, patches: Sequence[Region], choices: Choices) -> tuple[RegionTrace, ...]:
        own = [name for name in choices if self._owners[name] == regions]
        made = []
        for number, p in enumerate(patches):
            route = {name: choices[name][number] for name in own}
            flops = self._flops(regions, route, choices)
            made.append(RegionTrace(p.top, p.left, p.bottom, p.right, route, flops))
        return tuple(made)

    def _matters(self, region: RegionTrace, choices: Choices) -> bool:
        """Whether other engines would have run for a tile if it had decided otherwise."""
        assert self._tiles is not None
        others = [{**region.route, n: value} for n in region.route for value in self._axes[n].values]
        return any(self._flops(self._tiles[0], other, choices) != region.flops for other in others)

    def _flops(self, regions: str, route: Mapping[str, Choice], choices: Choices) -> int:
        """Work of the engines of one region."""
        of_frame = {name: choices[name][0] for name in choices if self._owners[name] == FRAME}
        whole = {**of_frame, **route}
        key = (regions, tuple(whole.items()))
        if key not in self._known:
            if len(self._known) > MOST_KNOWN:
                self._known.clear()
            stages = [stage for stage in self._stages if stage.regions == regions]
            graphs = (graph for stage in stages for graph in selected(stage, whole))
            self._known[key] = sum(graph.flops_at(self._size) for graph in graphs)
        return self._known[key]


MOST_KNOWN = 4096
"""Routes whose work is remembered: models that decide before every layer have more than any memory."""


def _times(region: Region, factor: int) -> Region:
    """A region of a value that is smaller than the frame, in the frame's pixels."""
    return Region(factor * region.top, factor * region.left, factor * region.bottom, factor * region.right)
