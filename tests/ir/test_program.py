from dataclasses import replace

import pytest
from routed_models import SMALL, small

from edgeflow.flow import trace
from edgeflow.ir.errors import BundleError, FlowError
from edgeflow.ir.plan import Stage
from edgeflow.ir.plan.faults import plan_faults
from edgeflow.ir.plan.plan_json import plan_from_json, plan_to_json
from edgeflow.ir.program import Call, Keep, Route, Stitch, Tile
from edgeflow.ir.route import Condition
from edgeflow.runtime import open_bundle


@pytest.fixture(scope="module")
def program():
    return trace(small("Patchwork"))


def without(program, kind):
    return replace(program, operations=tuple(op for op in program.operations if not isinstance(op, kind)))


def test_a_traced_program_is_sound(program):
    program.verify()
    assert str(program).splitlines()[0] == "program Patchwork"
    assert len(str(program).splitlines()) == 1 + len(program.operations)


def test_a_value_is_made_before_it_is_read(program):
    shuffled = replace(program, operations=program.operations[::-1])
    with pytest.raises(
        FlowError, match=r"program Patchwork, stitch stitched: reads 'finish' before it is made"
    ):
        shuffled.verify()


def test_a_value_has_one_maker(program):
    first = program.operations[0]
    with pytest.raises(FlowError, match=r"'look.0' is made twice; every value has one maker"):
        replace(program, operations=(first, first)).verify()


def test_a_condition_reads_what_was_decided(program):
    with pytest.raises(FlowError, match=r"depends on \['level'\] before they are decided"):
        without(program, Route).verify()
    keep = Keep("state", "frame", Condition("in", variable="level", values=(1,)))
    with pytest.raises(FlowError, match=r"keep .*depends on \['level'\] before they are decided"):
        replace(program, operations=(keep,)).verify()


def test_a_result_is_made(program):
    with pytest.raises(FlowError, match="its result 'stitched' is never made"):
        without(program, Stitch).verify()


@pytest.mark.parametrize("strategy", ["chained", "routes"])
@pytest.mark.parametrize("name", SMALL)
def test_a_plan_survives_the_manifest(name, strategy, small_bundle):
    _, compiled = small_bundle(name, strategy)
    (plan, *_) = compiled.manifest.plans.values()
    assert plan_from_json(plan_to_json(plan)) == plan
    assert open_bundle(compiled.path).manifest == compiled.manifest


@pytest.fixture(scope="module")
def plan(small_bundle):
    _, compiled = small_bundle("Patchwork", "chained")
    return compiled.manifest.plans["landscape"]


def test_batches_ascend_from_one(plan):
    for batches in ((), (2, 4), (1, 4, 2), (1, 1)):
        steps = [
            replace(step, graphs=tuple(replace(graph, batches=batches) for graph in step.graphs))
            if isinstance(step, Stage)
            else step
            for step in plan.steps
        ]
        assert "batch sizes ascend from 1" in next(plan_faults(replace(plan, steps=tuple(steps)), "plan"))


def test_a_plan_makes_values_before_it_reads_them(plan):
    faults = list(plan_faults(replace(plan, steps=plan.steps[::-1]), "plan"))
    assert faults[0] == "plan.steps[0]: 'tiles' is no tiling before it"
    assert list(plan_faults(replace(plan, results=("nowhere",)), "plan")) == [
        "plan: its result 'nowhere' is never made"
    ]


def test_tiles_are_of_what_they_are_cut_of(plan):
    (step,) = [step for step in plan.steps if isinstance(step, Tile)]
    for shape in ((3, step.size, step.size + 1), (4, step.size, step.size), (3,)):
        values = tuple(
            replace(value, shapes=(((), shape),)) if value.name == step.outputs[0] else value
            for value in plan.values
        )
        faults = list(plan_faults(replace(plan, values=values), "plan"))
        assert any("is of another shape than tiles of" in fault for fault in faults)


def test_a_stage_has_graphs_that_make_its_outputs(plan):
    position = plan.steps.index(plan.stages[0])
    (graph,) = plan.stages[0].graphs
    for graphs, message in (
        ((replace(graph, outputs=()),), "no graph of it makes ['look.0', 'look.1']"),
        ((graph, graph), "two of its graphs run at once"),
        (
            (replace(graph, select=Condition("in", "level", values=(1,))),),
            "it asks for 'level' before that is decided",
        ),
    ):
        broken = replace(plan.stages[0], graphs=graphs)
        steps = (*plan.steps[:position], broken, *plan.steps[position + 1 :])
        assert list(plan_faults(replace(plan, steps=steps), "plan")) == [f"plan.steps[{position}]: {message}"]


def test_a_step_of_a_newer_version_is_named(plan):
    data = plan_to_json(plan)
    data["steps"][0]["kind"] = "splat"
    with pytest.raises(
        BundleError, match="unknown step 'splat'; the bundle is from a newer edgeflow: update it"
    ):
        plan_from_json(data)


def test_shapes_are_looked_up_by_what_they_depend_on():
    program = trace(small("Frames"))
    sampled = program.value("clip.sampled")
    assert sampled.variables == ("frames",)
    assert sampled.shape({"frames": 16, "other": 1}) == (16, 3, 6, 6)
    assert program.variable("frames").axis.values == (4, 8, 16)
    (call,) = (op for op in program.operations if isinstance(op, Call))
    assert call.axes == (("frames", "frames"),)
