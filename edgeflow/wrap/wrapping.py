"""From a static network and a clip to a routed flow: what it is, how it is cut, what decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import lcm
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeflow.flow.module import RoutedModule
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.errors import InputError
from edgeflow.ir.film import calls_of
from edgeflow.ir.tiles import TileGrid
from edgeflow.runtime import Session
from edgeflow.targets import Target
from edgeflow.wrap.film import Film, Frames, with_detail
from edgeflow.wrap.form import Form, form_of
from edgeflow.wrap.halo import Halo, halo_of
from edgeflow.wrap.model import (
    Idle,
    Routing,
    Static,
    Tiling,
    Wrapped,
    WrappedWhole,
    task_of_form,
    whole_frame,
)
from edgeflow.wrap.network import Network
from edgeflow.wrap.reach import Reach, reach_of
from edgeflow.wrap.router import Fit
from edgeflow.wrap.simulate import Outcome
from edgeflow.wrap.timing import compiled, cropped, in_turn, one_thread
from edgeflow.wrap.tune import Tuned, Tuner
from edgeflow.wrap.windows import window_of

TILES = (96, 128, 192, 256, 384)
"""Sides of tiles that are tried, about, in pixels."""
FEWEST = 4
"""Calls of a clip that can be tuned on."""
GAIN = 0.03
"""Share of the static network's time that routes must save, and that a way more must save over one fewer."""
LARGER = (0.2, 0.5, 1.0, 2.0)
"""Drops that are tried where the one asked for is too small, in dB."""

Said = Callable[[str], Any]


@dataclass(frozen=True)
class Shown:
    """A clip as a network reads it.

    Attributes:
        calls: the frames of every call, (h, w, 3) uint8 each.
        truth: what should be made of them; empty if that is not known.
    """

    calls: tuple[tuple[NDArray[np.uint8], ...], ...]
    truth: tuple[NDArray[np.uint8], ...]


@dataclass(frozen=True)
class Wrapping:
    """A wrapped network.

    Attributes:
        model: the routed flow.
        static: the network on whole frames, as a flow.
        form: what the network takes and makes.
        reach: how far it sees.
        halo: what its tiles need beyond their patches; None if it cannot be tiled.
        tuned: what decides, and what that makes of the clip.
        shown: the clip that it was tuned on.
    """

    model: RoutedModule
    static: Static
    form: Form
    reach: Reach
    halo: Halo | None
    tuned: Tuned
    shown: Shown


def wrap(
    network: nn.Module,
    frames: Frames,
    target: Target,
    *,
    max_drop: float = 0.1,
    truth: Frames = (),
    last: bool = False,
    progress: Said = lambda what: None,
) -> Wrapping:
    """Make a static network a routed flow whose pictures stay near its own.

    Args:
        network: takes frames, (n, 3, h, w) in [0, 1] each, or those of a call as one tensor, (n, 3 x frames, h, w) or (n, frames, 3, h, w); makes one tensor (n, c, scale * h, scale * w).
        frames: of a clip of the kind that it will see, (h, w, 3) uint8.
        target: for whose library routes are timed, on this machine.
        max_drop: dB of PSNR that routing may cost on the clip; see `edgeflow.wrap.simulate.drop_of`.
        truth: what should be made of every frame, if that is known. Of a network that makes the picture between two frames it is:
            every second frame of the clip.
        last: what the network makes belongs to the last of its frames, not to their middle.
        progress: told of every step.

    Raises:
        FlowError: the network is no function of frames alone, or makes the same of all of them.
        InputError: the clip is too short, nothing moves in it, the truth does not fit, or no route saves time within the drop.
    """
    progress("look at the network")
    network = window_of(network.eval())
    form = form_of(network, last)
    reach = reach_of(network, form)
    shown = shown_of(form, frames, truth)
    _check_motion(shown.calls)
    height, width = shown.calls[0][0].shape[:2]
    plain = Network(network, form)
    static = Static(plain, (height, width))
    progress("run the network on the clip")
    with compiled(static, target, exact=True) as session:
        filmed = _filmed(plain, shown, session, target)
        halo = _halo(plain, reach, filmed.film)
        tilings = _timed_tilings(plain, halo, shown.calls, session, target, filmed.half_ms)
        tried = [_tuned(filmed.film, form, tiling, max_drop, progress) for tiling in tilings]
    best = min(tried, key=lambda each: each.outcome.time)
    _check_gain(best, filmed.film, form, max_drop)
    routed = _routed(Network(network, form, filmed.detail), filmed, best)
    return Wrapping(routed, static, form, reach, halo, best, shown)


@dataclass(frozen=True)
class _Filmed:
    """What a network makes of a clip.

    Attributes:
        film: its pictures.
        detail: of what half the size loses of a frame, how much belongs into the picture.
        half_ms: time at half the size over that at full size.
    """

    film: Film
    detail: float
    half_ms: float


def _filmed(network: Network, shown: Shown, session: Session, target: Target) -> _Filmed:
    """Run a network on a clip, at full and at half the size.

    Raises:
        InputError: the truth is of another shape than what the network makes.
    """
    calls = shown.calls
    static = tuple(session(*call) for call in calls)
    peak = 1.0 if network.form.picture else float(np.ptp(static[0]))
    truth = tuple(to_tensor(frame)[0].numpy() for frame in shown.truth)
    if truth and truth[0].shape != static[0].shape:
        (_, height, width), (channels, *made) = truth[0].shape, static[0].shape
        raise InputError(
            f"the truth is {width}x{height}, and the network makes {channels} channels of {made[1]}x{made[0]}: give pictures of that size"
        )
    if not network.form.scale:
        return _Filmed(Film(calls, static, (), truth, peak), 0.0, 1.0)
    height, width = calls[0][0].shape[:2]
    with compiled(Static(network, (height, width), half=True), target, exact=True) as at_half:
        made = tuple(at_half(*call) for call in calls)
        ms = in_turn({"full": lambda: session(*calls[0]), "half": lambda: at_half(*calls[0])})
    detail, half = with_detail(network, calls, made, static)
    return _Filmed(Film(calls, static, half, truth, peak), detail, ms["half"] / ms["full"])


def _routed(network: Network, filmed: _Filmed, tuned: Tuned) -> RoutedModule:
    """The flow."""
    film = filmed.film
    if tuned.tiling.size:
        return Wrapped(network, film.size, tuned.tiling, tuned.routing)
    height, width = film.static[0].shape[1:]
    return WrappedWhole(network, film.size, (height, width), filmed.half_ms, tuned.routing)


def shown_of(form: Form, frames: Frames, truth: Frames = ()) -> Shown:
    """The calls of a clip, and what they should make: see `wrap`.

    Raises:
        InputError: there are too few, or the truth has other frames than the clip.
    """
    task = task_of_form(form)
    if truth and len(truth) != len(frames):
        raise InputError(f"the truth has {len(truth)} frames and the clip {len(frames)}: give one for each")
    read, wanted = (frames[::2], frames[1::2]) if task.between else (frames, truth)
    calls = tuple(calls_of(task, read))
    if len(calls) < FEWEST:
        raise InputError(
            f"the clip has {len(frames)} frames, of which {len(calls)} calls of the network can be made: give one of at least "
            f"{task.frames_of(FEWEST) * (2 if task.between else 1)}, in which something moves and something does not"
        )
    return Shown(calls, tuple(wanted[: len(calls)]))


def _check_motion(calls: Sequence[Sequence[NDArray[np.uint8]]]) -> None:
    """Refuse a clip whose frames are all alike.

    Raises:
        InputError: they are.
    """
    first = calls[0]
    if all(np.array_equal(a, b) for call in calls for a, b in zip(call, first, strict=True)):
        raise InputError(
            "nothing moves in the clip, so that routes cannot be tuned on it: give one in which something does"
        )


def _timed_tilings(
    network: Network,
    halo: Halo | None,
    calls: Sequence[Sequence[NDArray[np.uint8]]],
    static: Session,
    target: Target,
    ratio: float,
) -> Iterator[Tiling]:
    """The ways to cut a frame that are worth a try, with what their tiles take here.

    Args:
        network: to run on the tiles.
        halo: that they need; None if they cannot be what they are in the whole frame.
        calls: of the clip.
        static: a session of the network on whole frames, which is timed in turn with that on tiles.
        target: for whose library.
        ratio: time at half the size over that at full size.
    """
    height, width = calls[0][0].shape[:2]
    sides = _sides(network.form, halo, (height, width)) if halo else []
    look = _look(network.form, halo, sides[0], calls[0], static, target) if halo and sides else 0.0
    for side in sides:
        assert halo is not None
        with compiled(Static(network, (side, side)), target) as tile:
            part = cropped(calls[0], side)
            ms = in_turn({"static": lambda: static(*calls[0]), "tile": lambda: tile(*part)})  # noqa: B023
        full = ms["tile"] / ms["static"] * len(TileGrid(height, width, side, halo.pixels, network.form.unit))
        # Less than the whole frame is a slow minute of the machine's, or a network that takes no longer than looking at its tiles.
        full = max(full, 1.0)
        yield Tiling(side, halo.pixels, full, full * ratio, look)
    if not sides:
        yield whole_frame(ratio)


def _look(
    form: Form, halo: Halo, side: int, call: Sequence[NDArray[np.uint8]], static: Session, target: Target
) -> float:
    """Time of a frame whose tiles are all copied over that of the frame whole: of the smallest tiles, of which there are most."""
    height, width = call[0].shape[:2]
    tiling, routing = Tiling(side, halo.pixels, 1.0, 0.0), Routing(1.0, Fit(1.0, 1.0), None)
    idle = Wrapped(Network(Idle(form), form), (height, width), tiling, routing)
    with compiled(idle, target) as session:
        ms = in_turn({"static": lambda: static(*call), "look": lambda: session(*call)})
    return ms["look"] / ms["static"]


def _halo(network: Network, reach: Reach, film: Film) -> Halo | None:
    """The halo that tiles need on the clip's first and last call."""
    ends = [[to_tensor(frame) for frame in film.calls[place]] for place in (0, -1)]
    return halo_of(
        network, reach, ends, [torch.from_numpy(film.static[place])[None] for place in (0, -1)], film.peak
    )


def _sides(form: Form, halo: Halo, size: tuple[int, int]) -> list[int]:
    """Sides of tiles that can be halved, are not mostly halo and no larger than the frame: about each of `TILES` the one that covers it best."""
    unit, found = lcm(2 * form.unit, 8), []

    def covering(side: int) -> int:
        return side**2 * len(TileGrid(*size, side, halo.pixels, form.unit))

    for about in TILES:
        near = range(-(-about * 4 // 5 // unit) * unit, about * 5 // 4 + 1, unit)
        if fitting := [side for side in near if 4 * halo.pixels <= side <= min(size)]:
            found.append(min(fitting, key=covering))
    return sorted(set(found))


def _tuned(film: Film, form: Form, tiling: Tiling, max_drop: float, progress: Said) -> Tuned:
    """The best price for a tiling, with halves where they pay."""
    progress(f"try tiles of {tiling.size} pixels" if tiling.size else "try whole frames")
    tuner = Tuner(film, form, tiling)
    with one_thread():
        routing = tuner.fitted()
        without = tuner.best(replace(routing, half=None), max_drop)
        halves = tuner.best(routing, max_drop) if routing.half else without
    return halves if halves.outcome.time < without.outcome.time - GAIN else without


def _check_gain(best: Tuned, film: Film, form: Form, max_drop: float) -> None:
    """Refuse routes that save nothing.

    Raises:
        InputError: says which drop would save some.
    """
    found = best.outcome
    if found.drop <= max_drop and found.time <= 1 - GAIN:
        return
    tuner = Tuner(film, form, best.tiling)
    for drop in LARGER:
        if drop <= max_drop:
            continue
        other: Outcome = tuner.best(best.routing, drop).outcome
        if other.time <= 1 - GAIN and other.drop <= drop:
            raise InputError(
                f"within --max-drop {max_drop:g} no route saves time on this clip (frames take {found.time:.2f} of the static network's "
                f"time at a drop of {found.drop:.2f} dB): --max-drop {drop:g} would take {other.time:.2f} of it"
            )
    if best.tiling.look > 1 - GAIN:
        raise InputError(
            f"this network is too quick to be routed here: looking at its tiles alone takes {best.tiling.look:.2f} of the static network's "
            "time. Export the static network, or wrap it for larger frames"
        )
    why = (
        "tiles are not what they are in the whole frame"
        if form.scale
        else "what it makes is not a whole number of times as large as its frames, so none of it belongs to a tile"
    )
    family = (
        "" if form.images != 2 or best.tiling.size else ". For RIFE use its own family: edgeflow export rife"
    )
    whole = "" if best.tiling.size else f"{why}: only whole frames can be reused, and "
    raise InputError(
        f"no route saves time on this clip, at whatever drop (frames take {found.time:.2f} of the static network's time): {whole}nearly "
        f"all of it changes from frame to frame. Give a clip of the kind that stands still in parts, or export the static network{family}"
    )
