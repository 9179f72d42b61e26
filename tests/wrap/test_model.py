"""The flow that a static network becomes: equal to it where it computes, and what it was where it copies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kept_bundles import compile_kept
from wrap_networks import Attentive, Enlarger, Five, Middle, Segmenter, denoiser, film

from edgeflow.flow import Eager
from edgeflow.flow.grids import found_grids
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.film import calls_of
from edgeflow.runtime import Session
from edgeflow.targets import load
from edgeflow.wrap.cut import Cut
from edgeflow.wrap.film import Film
from edgeflow.wrap.form import form_of
from edgeflow.wrap.model import Routing, Static, Tiling, Wrapped, WrappedWhole, task_of_form
from edgeflow.wrap.network import Network
from edgeflow.wrap.router import Fit
from edgeflow.wrap.simulate import simulate
from edgeflow.wrap.windows import window_of

SIZE = (128, 192)
TILING = Tiling(64, 8, 1.5, 0.4)
PRICE = 20.0


def wrapped(network, half=None, price=PRICE):
    form = form_of(network)
    return Wrapped(Network(network, form), SIZE, TILING, Routing(price, Fit(1.0, 1.0), half)).eval()


def calls(network, frames):
    return [tuple(map(to_tensor, call)) for call in calls_of(task_of_form(form_of(network)), frames)]


@pytest.mark.parametrize("network", [denoiser, Enlarger, Segmenter, Middle, Five])
def test_tiles_that_are_computed_are_as_in_the_whole_frame(network):
    model = wrapped(window_of(network().eval()))
    tiled, static = Eager(model, {"extent": "tiles", "way": "full"}), Eager(Static(model.network, SIZE))
    for call in calls(model.network.network, film(3)):
        torch.testing.assert_close(tiled(*call).outputs[0], static(*call).outputs[0], atol=1e-6, rtol=0)


def test_what_stands_still_is_copied_and_what_moves_is_computed():
    model = wrapped(denoiser())
    eager, static = Eager(model), Eager(Static(model.network, SIZE))
    for number, call in enumerate(calls(model.network.network, film(4))):
        found, wanted = eager(*call), static(*call).outputs[0]
        assert found.routes["extent"] == (["whole"] if number == 0 else ["tiles"])
        ways = found.routes["way"]
        assert number == 0 or {"copy", "full"} == set(ways)
        torch.testing.assert_close(found.outputs[0], wanted, atol=1e-6, rtol=0)


def test_errors_do_not_drift():
    """A frame that brightens by half a level a call is compared with what its picture was made of, not with the last one."""
    model = wrapped(denoiser(), price=20.0)
    eager, frame = Eager(model), to_tensor(film(1)[0]) * 0.8
    new = []
    for number in range(40):
        found = eager(frame + number * 0.5 / 255)
        new.append("copy" not in found.routes["way"])
    allowed = (PRICE * TILING.full) ** 0.5 / 0.5  # calls until the change is worth its price
    assert 40 / allowed - 2 <= sum(new[1:]) <= 40 / allowed + 2


def test_a_black_first_frame_is_computed():
    """States hold zeros at first, and so does that frame."""
    model = wrapped(denoiser())
    black = torch.zeros(1, 3, *SIZE)
    wanted = Eager(Static(model.network, SIZE))(black).outputs[0]
    assert float(wanted.mean()) > 0.1
    for policy in ({}, {"extent": "tiles"}):
        torch.testing.assert_close(Eager(model, policy)(black).outputs[0], wanted, atol=1e-6, rtol=0)


def test_a_frame_that_changes_everywhere_is_computed_whole_and_copied_after():
    model = wrapped(denoiser())
    eager = Eager(model)
    one, other = (to_tensor(np.ascontiguousarray(np.roll(film(1)[0], shift, 1))) for shift in (0, 60))
    assert [eager(frame).routes["extent"][0] for frame in (one, other, other)] == ["whole", "whole", "tiles"]
    found = eager(other)
    assert set(found.routes["way"]) == {"copy"}
    torch.testing.assert_close(
        found.outputs[0], Eager(Static(model.network, SIZE))(other).outputs[0], atol=1e-6, rtol=0
    )


def test_flat_tiles_are_computed_at_half_the_size():
    model = wrapped(denoiser(), half=Fit(0.2, 1.0))
    eager = Eager(model, {"extent": "tiles"})
    frame = film(1)[0].copy()
    frame[:, :96] = 90
    ways = eager(to_tensor(frame)).routes["way"]
    assert {"half", "full"} == set(ways)


def test_a_network_that_sees_the_whole_frame_is_reused_where_nothing_changed():
    network = Attentive().eval()
    form = form_of(network)
    model = WrappedWhole(Network(network, form), SIZE, SIZE, 0.3, Routing(5.0, Fit(1.0, 1.0), None)).eval()
    eager, static = Eager(model), Eager(Static(model.network, SIZE))
    frames = [to_tensor(frame) for frame in film(3)]
    ways = []
    for frame in (frames[0], frames[0], frames[1], frames[1], frames[0]):
        found = eager(frame)
        ways.append(found.routes["way"][0])
        torch.testing.assert_close(found.outputs[0], static(frame).outputs[0], atol=1e-6, rtol=0)
    assert ways == ["full", "copy", "full", "copy", "full"]


def test_routes_of_a_clip_are_those_that_tuning_expects():
    network = denoiser()
    model, frames = wrapped(network), film(8)
    static = Eager(Static(model.network, SIZE))
    made = tuple(static(to_tensor(frame)).outputs[0][0].numpy() for frame in frames)
    clip = Film(tuple((frame,) for frame in frames), made, made, (), 1.0)
    form = form_of(network)
    expected = simulate(Cut(clip, form, TILING), 1, TILING, model.routing)
    eager, taken, errors = Eager(model), [], []
    for frame, wanted in zip(frames, made, strict=True):
        found = eager(to_tensor(frame))
        ways = found.routes["way"]
        taken += ["whole"] * len(ways) if found.routes["extent"] == ["whole"] else ways
        errors.append(np.square((found.outputs[0][0].numpy() - wanted) * 255).mean())
    assert expected.shares == {way: taken.count(way) / len(taken) for way in ("copy", "full", "whole")}
    assert expected.error == pytest.approx(np.mean(errors), abs=1e-6)


@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
def test_bundles_are_as_the_flow(tmp_path, library):
    model = wrapped(Enlarger().eval(), half=Fit(0.3, 1.0))
    path = compile_kept(model, load("cpu"), tmp_path / "w.edgeflow", reference={}, strategy="routes").path
    eager, session, exact = (
        Eager(model),
        Session(path, library=library),
        Session(path, library=library, exact=True),
    )
    for frame in film(4):
        wanted, found = eager(to_tensor(frame)), session.run(frame)
        assert found.trace.choices == wanted.routes
        assert found.outputs[0].shape == (256, 384, 3)
        np.testing.assert_allclose(exact.run(frame).outputs[0], wanted.outputs[0][0].numpy(), atol=2e-6)


def test_measures_of_tiles_are_on_no_grid():
    """What looks at squares of 8x8 pixels makes a number: tiles may begin where the network lets them."""
    model = wrapped(denoiser())
    assert found_grids(model, {}) == {"tiles": 1}


def test_what_was_never_made_is_computed_whatever_is_asked():
    model, frame = wrapped(denoiser(), half=Fit(0.2, 1.0)), to_tensor(film(1)[0])
    wanted = Eager(model, {"extent": "tiles", "way": "full"})(frame).outputs[0]
    eager = Eager(model, {"extent": "tiles", "way": "copy"})
    assert torch.equal(eager(frame).outputs[0], wanted)
    assert torch.equal(eager(1 - frame).outputs[0], wanted)  # and copied from then on
    eager.reset()
    assert torch.equal(eager(frame).outputs[0], wanted)
