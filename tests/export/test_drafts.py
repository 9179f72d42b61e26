import pytest
from routed_models import SMALL, small

from edgeflow.export.drafts import plan
from edgeflow.flow import trace
from edgeflow.ir.errors import ExportError
from edgeflow.ir.route import assignments
from edgeflow.models import st_mfnet
from edgeflow.models.cain_sd import build


@pytest.fixture(scope="module")
def programs():
    return {"CAINSD": trace(build("tiny")), **{name: trace(small(name)) for name in SMALL}}


@pytest.mark.parametrize("strategy", ["chained", "routes"])
@pytest.mark.parametrize("name", ["CAINSD", *SMALL])
def test_for_every_route_at_most_one_variant_runs_and_every_output_has_a_source(programs, name, strategy):
    program = programs[name]
    for stage in plan(program, strategy).stages:
        for route in map(dict, assignments(program.variables)):
            chosen = [variant for variant in stage.variants if variant.select.holds(route)]
            assert len(chosen) <= 1
            runs = [call.segment for call in stage.calls if call.when.holds(route)]
            assert [link.call.segment for variant in chosen for link in variant.links] == runs
            for variant in chosen:
                made = {name for name, _ in (*variant.outputs, *variant.kept)}
                assert made == {name for name, _ in stage.otherwise}


def test_chained_has_one_stage_per_call_and_one_variant_per_scale(programs):
    stages = plan(programs["CAINSD"], "chained").stages
    counts = {stage.name: len(stage.variants) for stage in stages}
    groups = {f"cain.groups.{i}": 3 for i in range(5)}
    assert counts == {"sd_finder": 1, "head": 3, **groups, "tail": 3}


def test_routes_has_one_variant_per_whole_route(programs):
    finder, whole = plan(programs["CAINSD"], "routes").stages
    assert (finder.name, len(finder.variants)) == ("sd_finder", 1)
    assert (whole.name, len(whole.variants)) == ("head..tail", 15)
    assert all(variant.inputs == ("frame0.tiles", "frame1.tiles") for variant in whole.variants)
    assert all([made for made, _ in variant.outputs] == ["tail"] for variant in whole.variants)
    assert sorted(len(variant.links) for variant in whole.variants) == sorted([3, 4, 5, 6, 7] * 3)


@pytest.mark.slow
def test_stages_of_one_segment_have_names_of_their_own():
    """As ST-MFNet has, which calls AdaCoF six times, after kernels of each frame."""
    program = trace(st_mfnet.build("tiny-mini"), {"height": 32, "width": 32})
    names = [stage.name for stage in plan(program, "chained").stages]
    first, second = (
        ["kernels", "adacof", "adacof.1", "adacof.2"],
        ["kernels.1", *(f"adacof.{n}" for n in (3, 4, 5))],
    )
    assert names[2:10] == first + second


def test_a_switch_runs_one_branch(programs):
    (stage,) = plan(programs["Shortcut"], "routes").stages[:1]
    segments = {v.variant: [link.call.segment for link in v.links] for v in stage.variants}
    assert segments == {
        (("mode", "key"),): ["encode", "middle"],
        (("mode", "shortcut"),): ["encode", "shortcut"],
    }


def test_an_unknown_strategy(programs):
    with pytest.raises(ExportError, match="unknown plan 'magic': use one of chained, routes"):
        plan(programs["Frames"], "magic")
