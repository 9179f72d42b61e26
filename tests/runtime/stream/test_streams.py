"""Routing with state: a translator whose frames between key frames stand on the key frame's features."""

import threading

import numpy as np
import pytest
import torch
from kept_bundles import compile_kept
from torch import nn

from edgeflow.export.sample import moving_picture
from edgeflow.flow import DriftAbove, Eager, KeyFrameInterval
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.errors import InputError
from edgeflow.ir.plan.routes import dearest_route, static_plan
from edgeflow.models.shortcut_v2v import ShortcutV2V
from edgeflow.runtime import Fixed, Rules, Session
from edgeflow.runtime.check import check
from edgeflow.runtime.session import fitting_size
from edgeflow.targets import load

SIZE = (32, 48)
POLICIES = {
    "own": {},
    "interval": {"mode": KeyFrameInterval(2)},
    "drift": {"mode": DriftAbove(0.05, longest=5)},
}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(2)
    generator = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.InstanceNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 64, 3, 1, 1),
        nn.Tanh(),
        nn.Conv2d(64, 8, 3, 1, 1),
        nn.Tanh(),
        nn.ConvTranspose2d(8, 3, 3, 2, 1, 1),
        nn.Sigmoid(),
    )
    made = ShortcutV2V(generator, "0", "5", channels=8, interval=3).eval()
    for last in (made.block.coarse_offset[-1], made.block.fine[-1]):
        nn.init.normal_(last.weight, 0, 0.3)
    made.size = SIZE
    return made


@pytest.fixture(scope="module")
def bundles(model, tmp_path_factory):
    """Per target and plan, compiled for the model's own size: nobody names one."""
    folder, made = tmp_path_factory.mktemp("streams"), {}
    for target in ("cpu", "openvino-cpu"):
        for strategy in ("chained", "routes"):
            path = folder / f"{target}-{strategy}"
            made[target, strategy] = compile_kept(
                model, load(target), path, reference={}, strategy=strategy
            ).path
    return made


@pytest.fixture(scope="module")
def bundle(bundles):
    return bundles["cpu", "chained"]


def pictures(count, first=0):
    return [moving_picture(*SIZE, time) for time in range(first, first + count)]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["cpu", "openvino-cpu"])
@pytest.mark.parametrize("strategy", ["chained", "routes"])
def test_a_long_stream_does_not_drift_from_eager(model, bundles, target, strategy):
    for name, rules in POLICIES.items():
        session = Session(bundles[target, strategy], policy=Rules(**rules), exact=True)
        eager, modes = Eager(model, rules=rules), []
        for picture in pictures(30):
            result, wanted = session.run(picture), eager(to_tensor(picture))
            assert np.abs(result.outputs[0] - wanted.outputs[0][0].numpy()).max() <= 1e-4, name
            assert result.trace.choices == wanted.routes
            modes.append(result.trace.choices["mode"][0])
        assert {"key", "shortcut"} == set(modes)


@pytest.mark.parametrize("target", ["cpu", "openvino-cpu"])
def test_check_runs_every_engine_with_states_that_were_filled(bundles, target):
    for strategy in ("chained", "routes"):
        session = Session(bundles[target, strategy])
        assert check(session.bundle).passed
    goldens = [
        np.load(session.bundle.path / g.golden)
        for s in session.bundle.manifest.plans["48x32"].stages
        for g in s.graphs
    ]
    references = [golden["in.state.f_ref"] for golden in goldens if "in.state.f_ref" in golden]
    assert references and all(np.abs(reference).max() > 0 for reference in references)


def test_a_rule_that_reads_no_measure_does_not_pay_for_it(bundle):
    picture = pictures(1)[0]
    stages = {
        name: [e.stage for e in Session(bundle, policy=Rules(**rules)).run(picture).trace.engines]
        for name, rules in POLICIES.items()
    }
    assert stages["own"] == stages["interval"] == ["encode", "middle", "decode"]
    assert stages["drift"] == ["encode", "drift", "middle", "decode"]


def test_a_reset_takes_a_key_frame_and_forgets_the_last(bundle):
    session, fresh = Session(bundle), Session(bundle)
    for picture in pictures(2):
        session.run(picture)
    session.reset()
    for picture in pictures(3, first=5):
        result, wanted = session.run(picture), fresh.run(picture)
        assert result.trace.choices == wanted.trace.choices
        assert (result.outputs[0] == wanted.outputs[0]).all()


def test_a_fixed_shortcut_counts_no_key_frame(bundle):
    session = Session(bundle, policy=Fixed(mode="shortcut"))
    assert [session.run(p).trace.choices["mode"] for p in pictures(4)] == [["shortcut"]] * 4


def test_a_rule_for_an_axis_that_is_not_there_is_refused(bundle):
    with pytest.raises(InputError, match="no axis 'exit' to rule: the bundle has mode"):
        Session(bundle, policy=Rules(exit=KeyFrameInterval(2))).run(pictures(1)[0])


def test_a_rule_without_its_measure_is_refused(small_bundle):
    _, compiled = small_bundle("Shortcut", "chained")
    with pytest.raises(InputError, match="reads a measure of the frame, and this bundle has none for mode"):
        Session(compiled.path, policy=Rules(mode=DriftAbove(0.1, 3))).run(np.zeros((16, 24, 3), np.uint8))


def test_what_is_decided_by_scores_takes_no_rule(tiny_bundles):
    with pytest.raises(InputError, match="exit"):
        Session(tiny_bundles["chained"].path, policy=Rules(exit=KeyFrameInterval(2)))


def test_another_size_midway_is_refused_and_the_stream_goes_on(bundle):
    session, undisturbed = Session(bundle), Session(bundle)
    before, after = pictures(2)
    session.run(before), undisturbed.run(before)
    with pytest.raises(InputError, match="48x32"):
        session.run(moving_picture(64, 96, 0))
    assert (session.run(after).outputs[0] == undisturbed.run(after).outputs[0]).all()


def test_two_threads_in_one_session_are_refused(bundle):
    session = Session(bundle)
    session.run(pictures(1)[0])
    entered, go_on = threading.Event(), threading.Event()
    run = session.executor.run

    def slowly(inputs):
        entered.set()
        assert go_on.wait(10)
        return run(inputs)

    session.executor.run = slowly
    first = threading.Thread(target=session.run, args=(pictures(1)[0],))
    first.start()
    assert entered.wait(10)
    try:
        with pytest.raises(InputError, match="another thread is running a frame in this session"):
            session.run(pictures(1)[0])
    finally:
        go_on.set()
        first.join()
    session.executor.run = run
    session.run(pictures(1)[0])  # and afterwards it is free again


def test_a_frame_that_fails_leaves_the_session_free(bundle):
    session = Session(bundle)
    for _ in range(2):
        with pytest.raises(InputError, match="expected uint8"):
            session.run(np.zeros((*SIZE, 3), np.float32))
    session.run(pictures(1)[0])


def test_the_full_model_has_no_states_and_costs_what_a_key_frame_costs(bundle):
    session = Session(bundle)
    key = session.run(pictures(1)[0]).trace
    plan = session.executor.plan
    route = dearest_route(plan, SIZE)
    assert route == {"mode": "key"}
    assert session.executor.dearest_flops() == key.flops
    assert not any(type(step).__name__ == "Keep" for step in static_plan(plan, route).steps)


def test_frames_are_fitted_to_the_size_of_nearest_shape(bundle):
    plans = Session(bundle).bundle.manifest.plans
    assert fitting_size(plans, *SIZE) == SIZE
    assert fitting_size(plans, 720, 1280) == SIZE
    assert fitting_size(plans, 1280, 720) == SIZE
