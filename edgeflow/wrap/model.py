"""A static network as a flow: every tile of a frame is copied, computed at half the size or in full; or the frame is computed whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from edgeflow.flow import Axis, Flow, Image, Made, Priced, RoutedModule, Scored, Spread, Table, Task
from edgeflow.flow import Tensor as Declared
from edgeflow.ir.interface import Interface
from edgeflow.ir.task import default_task
from edgeflow.ir.tiles import TileGrid
from edgeflow.wrap.form import Form
from edgeflow.wrap.network import Network
from edgeflow.wrap.router import Fit, FrameScores, TileScores

BEGUN = Table((0.5,))
"""Whether there is a picture to be copied: where there is none, the network runs, whatever was decided."""


@dataclass(frozen=True)
class Tiling:
    """How a frame is cut, and what its tiles cost.

    Attributes:
        size: side of a tile, in pixels; 0 if the frame is not cut.
        halo: pixels of it beyond its patch, at every seam.
        full: time of all tiles of a frame over that of the frame whole.
        half: the same at half the size.
        look: the same of a frame whose tiles are all copied: they are looked at, and put together.
    """

    size: int
    halo: int
    full: float
    half: float
    look: float = 0.0


@dataclass(frozen=True)
class Routing:
    """What decides.

    Attributes:
        price: squared levels, of 255, that the time of a whole frame must save, where they are largest.
        copy: from changes of the input to changes of the output.
        half: from what half the size loses to the error that it makes; None where it is no way.
    """

    price: float
    copy: Fit
    half: Fit | None

    @property
    def ways(self) -> tuple[str, ...]:
        """Ways that a tile may go, cheapest first."""
        return ("copy", "half", "full") if self.half else ("copy", "full")

    def costs(self, tiling: Tiling) -> tuple[float, ...]:
        """What every way costs over a whole frame's."""
        return (0.0, tiling.half, tiling.full) if self.half else (0.0, tiling.full)

    def spread(self, tiling: Tiling) -> Spread:
        """What decides between tiles and the whole frame: tiles are looked at besides."""
        return Spread(self.price, (tiling.look, tiling.look + tiling.full))


class Static(RoutedModule):
    """A static network on whole frames of one size, with which a routed one is compared.

    Args:
        network: to run.
        size: (height, width) of the frames.
        half: at half the size.
    """

    def __init__(self, network: Network, size: tuple[int, int], half: bool = False) -> None:
        super().__init__()
        self.network = network
        self.run = network.at_half_of_any_size if half else network.of_any_size
        _declare(self, network.form, size)

    def flow(self, f: Flow, *frames: Any) -> Any:
        """One call."""
        return f.call(self.run, *frames)


class Wrapped(RoutedModule):
    """A static network that computes only what is not what it was.

    A tile whose input is what it was when its picture was made takes that picture: it is compared with that input, which is
    kept with the picture, so that errors cannot drift. A frame that changes nearly everywhere is computed whole.

    Args:
        network: to run.
        size: (height, width) of the frames.
        tiling: how they are cut.
        routing: what decides.
    """

    extent = Axis("tiles", "whole")
    begun = Axis(False, True)

    def __init__(self, network: Network, size: tuple[int, int], tiling: Tiling, routing: Routing) -> None:
        super().__init__()
        self.network, self.tiling, self.routing = network, tiling, routing
        _declare(self, network.form, size)
        self.way = Axis(*routing.ways)
        grid = TileGrid(*size, tiling.size, tiling.halo, network.form.unit)
        self.parts = FrameScores(routing.copy, (grid.rows, grid.columns), size)
        self.scores = TileScores(routing.copy, routing.half, network.form.images)

    def flow(self, f: Flow, *frames: Any) -> Any:
        """Look, decide, and make each tile's picture, or the frame's."""
        form, side, costs = self.network.form, self.tiling.size, self.routing.costs(self.tiling)
        made_side, price = form.scale * side, self.routing.price
        seen = {f"seen{number}": (3, side, side) for number in range(form.images)}
        frame = f.state(looked_at=(3 * form.images, *self.parts.canvas), begun=(1,))
        state = f.state(made=(form.channels, made_side, made_side), known=(1,), scores=(len(costs),), **seen)

        look = f.call(self.parts, *frames)
        parts, begun = f.call(self.parts.of, look, frame.looked_at, frame.begun)
        extent = f.route(frames[0], extent=Scored(self.routing.spread(self.tiling), parts)).extent
        f.keep(looked_at=look, begun=begun)
        whole = f.call(self.whole, *frames, when=extent == "whole", otherwise=None)
        *tiles, of_whole, known = f.tile(
            *frames, whole, begun, size=side, halo=self.tiling.halo, multiple=form.unit
        )

        here = (
            extent == "tiles"
        )  # of a frame that is computed whole no tile is looked at: what is decided of them does not matter
        before = [getattr(state, name) for name in seen]
        scores = f.call(self.scores, *tiles, *before, state.known, when=here, otherwise=state.scores)
        route = f.route(tiles[0], way=Scored(Priced(price, costs), scores), begun=Scored(BEGUN, state.known))
        way, made = route.way, state.made
        if self.routing.half:
            half = here & (way == "half") & (route.begun == True)  # noqa: E712
            made = f.call(self.network.at_half, *tiles, when=half, otherwise=made)
        full = here & ((way == "full") | (route.begun == False))  # noqa: E712
        made = f.call(self.network, *tiles, when=full, otherwise=made)
        made = f.call(self.part, of_whole, when=extent == "whole", otherwise=made)
        new = (extent == "whole") | (way != "copy") | (route.begun == False)  # noqa: E712
        f.keep(made=made, known=known, when=new, **dict(zip(seen, tiles, strict=True)))
        return f.stitch(made)

    def whole(self, *frames: Tensor) -> Tensor:
        """The network on a whole frame, as many pixels a side as that: (1, c x scale^2, h, w)."""
        made = self.network.of_any_size(*frames)
        return F.pixel_unshuffle(made, self.network.form.scale) if self.network.form.scale > 1 else made

    def part(self, tiles: Tensor) -> Tensor:
        """Tiles of what `whole` made, at the picture's own size."""
        return F.pixel_shuffle(tiles, self.network.form.scale) if self.network.form.scale > 1 else tiles * 1


class WrappedWhole(RoutedModule):
    """A static network that sees the whole frame, which is computed again when it is not what it was.

    Args:
        network: to run.
        size: (height, width) of the frames.
        made: (height, width) of what it makes.
        half: time at half the size over that at full size.
        routing: what decides.
    """

    begun = Axis(False, True)

    def __init__(
        self, network: Network, size: tuple[int, int], made: tuple[int, int], half: float, routing: Routing
    ) -> None:
        super().__init__()
        self.network, self.made, self.routing = network, made, routing
        _declare(self, network.form, size)
        self.way = Axis(*routing.ways)
        self.costs = routing.costs(whole_frame(half))
        self.scores = TileScores(routing.copy, routing.half, network.form.images)

    def flow(self, f: Flow, *frames: Any) -> Any:
        """Look, decide, and make the picture."""
        assert self.size is not None
        seen = {f"seen{number}": (3, *self.size) for number in range(self.network.form.images)}
        state = f.state(made=(self.network.form.channels, *self.made), known=(1,), **seen)
        before = [getattr(state, name) for name in seen]
        scores = f.call(self.scores, *frames, *before, state.known)
        known = f.call(self.scores.begun, state.known)
        rule = Priced(self.routing.price, self.costs)
        route = f.route(frames[0], way=Scored(rule, scores), begun=Scored(BEGUN, state.known))
        way, made = route.way, state.made
        if self.routing.half:
            half = (way == "half") & (route.begun == True)  # noqa: E712
            made = f.call(self.network.at_half_of_any_size, *frames, when=half, otherwise=made)
        full = (way == "full") | (route.begun == False)  # noqa: E712
        made = f.call(self.network.of_any_size, *frames, when=full, otherwise=made)
        new = (way != "copy") | (route.begun == False)  # noqa: E712
        f.keep(made=made, known=known, when=new, **dict(zip(seen, frames, strict=True)))
        return made


class Idle(nn.Module):
    """A stand-in that makes what a network makes, for next to nothing: what is left of a call is what routing costs.

    Args:
        form: what the network takes and makes.
    """

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form

    def forward(self, *frames: Tensor) -> Tensor:
        """(n, 3, h, w) each -> (n, c, scale * h, scale * w)."""
        plane = frames[0][:, :1].expand(-1, self.form.channels, -1, -1)
        return F.interpolate(plane, scale_factor=float(self.form.scale)) if self.form.scale > 1 else plane * 1


def whole_frame(half: float) -> Tiling:
    """A frame that is not cut, and what it costs at half the size."""
    return Tiling(0, 0, 1.0, half)


def task_of_form(form: Form) -> Task:
    """What a call of the network is made of, and what comes of it."""
    inputs, (made,) = _interface(form)
    suggested = default_task(inputs, (made,))
    time = float(form.images - 1) if form.last else suggested.outputs[0].time
    return Task(suggested.offsets, (Made("image" if form.picture else "mask", time, float(form.scale or 1)),))


def _interface(
    form: Form, size: tuple[int, int] | None = None
) -> tuple[tuple[Interface, ...], tuple[Interface]]:
    """Inputs and output of a network, for frames of a size (height, width)."""
    names = ("frame",) if form.images == 1 else tuple(f"frame{number}" for number in range(form.images))
    made: Interface = Image("picture") if form.picture else Declared("made", (form.channels,))
    return tuple(Image(name, *(size or ())) for name in names), (made,)


def _declare(model: RoutedModule, form: Form, size: tuple[int, int]) -> None:
    """Let a model declare frames of a size, and what a network makes of them."""
    model.inputs, model.outputs = _interface(form, size)  # type: ignore[misc]
    model.size, model.task = size, task_of_form(form)
