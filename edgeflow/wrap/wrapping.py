"""From a static network and a clip to a routed flow: what it is, how it is cut, what decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import lcm
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeflow.flow.module import RoutedModule
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.errors import FlowError, InputError
from edgeflow.ir.film import calls_of
from edgeflow.ir.tiles import TileGrid
from edgeflow.targets import Target
from edgeflow.wrap.film import Film, Frames, with_detail
from edgeflow.wrap.form import Form, form_of
from edgeflow.wrap.halo import Halo, halo_of
from edgeflow.wrap.model import Static, Tiling, Wrapped, task_of_form
from edgeflow.wrap.network import Network
from edgeflow.wrap.reach import Reach, reach_of
from edgeflow.wrap.timing import compiled, cropped, in_turn, one_thread
from edgeflow.wrap.tune import Outcome, Tuned, Tuner

TILES = (96, 128, 192, 256, 384)
"""Sides of tiles that are tried, in pixels."""
FEWEST = 4
"""Calls of a clip that can be tuned on."""
GAIN = 0.03
"""Share of the static network's time that routes must save, and that a way more must save over one fewer."""
LARGER = (0.2, 0.5, 1.0, 2.0)
"""Drops that are tried where the one asked for is too small, in dB."""

Said = Callable[[str], Any]


@dataclass(frozen=True)
class Wrapping:
    """A wrapped network.

    Attributes:
        model: the routed flow.
        static: the network on whole frames, as a flow.
        form: what the network takes and makes.
        reach: how far it sees.
        halo: what its tiles hold beyond their patches.
        tuned: what decides, and what that makes of the clip.
        calls: of the clip, that it was tuned on.
        truth: what it should make of them; empty if that is not known.
    """

    model: RoutedModule
    static: Static
    form: Form
    reach: Reach
    halo: Halo
    tuned: Tuned
    calls: tuple[tuple[NDArray[np.uint8], ...], ...]
    truth: tuple[NDArray[np.uint8], ...]


def wrap(
    network: nn.Module,
    frames: Frames,
    target: Target,
    *,
    max_drop: float = 0.1,
    truth: Frames = (),
    progress: Said = lambda what: None,
) -> Wrapping:
    """Make a static network a routed flow whose pictures stay near its own.

    Args:
        network: takes frames, (n, 3, h, w) in [0, 1] each, and makes one tensor (n, c, scale * h, scale * w).
        frames: of a clip of the kind that it will see, (h, w, 3) uint8.
        target: for whose library routes are timed, on this machine.
        max_drop: dB of PSNR that routing may cost on the clip; see `edgeflow.wrap.tune.drop_of`.
        truth: what should be made of every frame, if that is known. Of a network that makes the picture between two frames it is:
            every second frame of the clip.
        progress: told of every step.

    Raises:
        FlowError: the network is no function of frames alone, or nothing moves in the clip.
        InputError: the clip is too short, or no route saves time within the drop.
    """
    network = network.eval()
    progress("look at the network")
    form = form_of(network)
    reach = reach_of(network, form)
    calls, truths = _calls(form, frames, truth)
    height, width = calls[0][0].shape[:2]
    size = height, width
    plain = Network(network, form)
    progress("run the network on the clip")
    with compiled(Static(plain, size), target, exact=True) as session:
        static = tuple(session(*call) for call in calls)
        peak = 1.0 if form.channels == 3 else float(np.ptp(static[0]))
        halo = halo_of(
            plain, reach, [to_tensor(each) for each in calls[0]], torch.from_numpy(static[0])[None], peak
        )
        if halo is None:
            raise FlowError("whole-frame routes are not there yet")
        progress("run it at half the size")
        with compiled(Static(plain, size, half=True), target, exact=True) as at_half:
            made = tuple(at_half(*call) for call in calls)
            ms = in_turn({"static": lambda: session(*calls[0]), "half": lambda: at_half(*calls[0])})
        detail, half = with_detail(plain, calls, made, static)
        film = Film(calls, static, half, _pictures(truths), peak)
        tried = []
        for tiling in _tilings(plain, halo, size):
            progress(f"try tiles of {tiling.size}")
            with compiled(Static(plain, (tiling.size, tiling.size)), target) as tile:
                part = cropped(calls[0], tiling.size)
                taken = in_turn({"static": lambda: session(*calls[0]), "tile": lambda: tile(*part)})  # noqa: B023
            count = len(TileGrid(*size, tiling.size, halo.pixels, form.unit))
            full = taken["tile"] * count / taken["static"]
            tried.append(
                _tuned(
                    film, form, replace(tiling, full=full, half=full * ms["half"] / ms["static"]), max_drop
                )
            )
    best = min(tried, key=lambda each: each.outcome.time)
    _check_gain(best, film, form, max_drop)
    routed = Wrapped(Network(network, form, detail), size, best.tiling, best.routing)
    return Wrapping(routed, Static(plain, size), form, reach, halo, best, calls, truths)


def _calls(form: Form, frames: Frames, truth: Frames) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The calls of a clip, and what they should make.

    Raises:
        InputError: there are too few, or the truth has other frames than the clip.
    """
    task = task_of_form(form)
    if truth and len(truth) != len(frames):
        raise InputError(f"the truth has {len(truth)} frames and the clip {len(frames)}: give one for each")
    shown, wanted = (frames[::2], frames[1::2]) if task.between else (frames, truth)
    calls = tuple(calls_of(task, shown))
    if len(calls) < FEWEST:
        raise InputError(
            f"the clip has {len(frames)} frames, of which {len(calls)} calls of the network can be made: give one of at least "
            f"{task.frames_of(FEWEST) * (2 if task.between else 1)}, in which something moves and something does not"
        )
    return calls, tuple(wanted[: len(calls)])


def _pictures(frames: Frames) -> tuple[NDArray[np.float32], ...]:
    """Frames as pictures (3, h, w) in [0, 1]."""
    return tuple(to_tensor(frame)[0].numpy() for frame in frames)


def _tilings(network: Network, halo: Halo, size: tuple[int, int]) -> list[Tiling]:
    """The tilings that are worth a try: no tile is mostly halo, or as large as the frame."""
    unit = lcm(2 * network.form.unit, 8)
    sides = [
        side for side in TILES if side % unit == 0 and 2 * halo.pixels <= side // 2 and side <= min(size)
    ]
    return [Tiling(side, halo.pixels, 0.0, 0.0) for side in sides]


def _tuned(film: Film, form: Form, tiling: Tiling, max_drop: float) -> Tuned:
    """The best price for a tiling, with halves where they pay."""
    tuner = Tuner(film, form, tiling)
    with one_thread():
        routing = tuner.fitted(halves=True)
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
    raise InputError(
        f"no route saves time on this clip, at whatever drop (frames take {found.time:.2f} of the static network's time): nearly all of "
        "it changes from frame to frame. Give a clip of the kind that stands still in parts, or export the static network"
    )
