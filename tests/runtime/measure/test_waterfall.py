from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeflow.runtime.measure.waterfall import FrameCost, Spent, Work, waterfall

ms = st.floats(0, 1e4)
flops = st.floats(0, 1e12)
works = st.builds(Work, useful=st.floats(1e6, 1e12), halo=flops, padding=flops, router=flops)
static_works = st.builds(Work, useful=st.floats(1e6, 1e12), halo=flops, padding=flops, router=st.just(0.0))
spents = st.builds(Spent, ms, ms, ms, ms, ms, ms, rest=st.floats(0.1, 1e4))
static_spents = st.builds(Spent, st.just(0.0), ms, ms, ms, ms, ms, rest=st.floats(0.1, 1e4))
PARTS = {
    "router": "slower router",
    "convolutions": "slower convolutions",
    "operators": "other operators",
    "launches": "launches",
    "batches": "forming batches",
    "tiles": "tiles",
    "rest": "everything else",
}


def by_name(made):
    return {step.name: step.ms for step in made.steps}


@given(st.builds(FrameCost, works, spents), st.builds(FrameCost, static_works, static_spents))
def test_steps_add_up_to_the_measured_time(routed, full):
    made = waterfall("full", routed, full)
    largest = max(abs(step.ms) for step in made.steps)
    assert sum(step.ms for step in made.steps) == pytest.approx(routed.spent.total, abs=1e-9 * largest)
    at_rate = sum(step.ms for step in made.steps[:4])
    assert at_rate == pytest.approx(made.realisation * routed.spent.total)
    saved = (full.work.useful + full.work.halo) / routed.work.total
    assert made.realisation == pytest.approx(full.spent.total / routed.spent.total / saved)


@given(works, st.builds(FrameCost, static_works, static_spents))
def test_a_frame_that_loses_nothing_realises_everything(work, full):
    share = work.routed / (full.work.useful + full.work.halo)
    router = work.router / (full.work.useful + full.work.halo) * full.spent.total
    own = {part: getattr(full.spent, part) * share for part in PARTS}
    made = waterfall("full", FrameCost(work, Spent(**{**own, "router": router})), full)
    assert made.realisation == pytest.approx(1)
    scale = sum(own.values()) + router
    assert all(abs(step.ms) <= 1e-9 * scale for step in made.steps[4:])


@given(
    st.builds(FrameCost, works, spents),
    st.builds(FrameCost, static_works, static_spents),
    st.sampled_from(list(PARTS)),
    st.floats(0.1, 1e4),
)
def test_time_lost_in_one_part_is_named_there_and_nowhere_else(routed, full, part, more):
    before = waterfall("full", routed, full)
    slower = replace(routed, spent=replace(routed.spent, **{part: getattr(routed.spent, part) + more}))
    after = waterfall("full", slower, full)
    scale = max(abs(ms) for ms in by_name(before).values()) + more
    for name, ms in by_name(after).items():
        lost = more if name == PARTS[part] else 0
        assert ms - by_name(before)[name] == pytest.approx(lost, abs=1e-9 * scale)
    assert after.realisation < before.realisation
