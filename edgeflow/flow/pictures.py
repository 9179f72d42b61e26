"""Which values of a program are pictures: held in bytes at run time, where that cannot be, and their scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgeflow.ir.errors import FlowError
from edgeflow.ir.program import Call, Interface, Keep, Program, Route, Sample, Stitch, Tile, Value
from edgeflow.ir.task import Task


def mark_images(program: Program) -> Program:
    """An image output is an image all the way back to the calls that made its tiles, on every branch.

    What a segment, a tiling or a state reads of it was not rounded: then all of it stays in float, and is rounded
    at the frame's end. So does what is blended. A state that keeps images which were given is held in bytes.
    """
    given = _given(program)
    images = {v.name for v in program.values if v.image and v.name not in given}
    for operation in reversed(program.operations):
        if isinstance(operation, Stitch) and operation.output in images and not operation.blend:
            images.add(operation.input)
        if isinstance(operation, Call):
            sides = zip(operation.outputs, operation.otherwise, strict=True)
            images.update(other for output, other in sides if other is not None and output in images)
    images -= _in_float(program, images - given)
    kept = {op.state for op in program.operations if isinstance(op, Keep) and op.input in given}
    images |= given | kept
    values = tuple(replace(v, image=v.name in images) for v in program.values)
    states = tuple(replace(state, image=state.name in kept) for state in program.states)
    return replace(program, values=values, states=states)


def _given(program: Program) -> set[str]:
    """Images that a call brings, their tiles and samples."""
    given = {spec.name for spec in program.inputs if spec.image}
    for operation in program.operations:
        if isinstance(operation, Tile):
            given.update(
                made for name, made in zip(operation.inputs, operation.outputs, strict=True) if name in given
            )
        if isinstance(operation, Sample) and operation.input in given:
            given.add(operation.output)
    return given


def _in_float(program: Program, images: set[str]) -> set[str]:
    """Those images that something reads before they are rounded, and all that they are one picture with."""
    found = {
        name
        for op in program.operations
        if isinstance(op, Call | Keep | Tile | Route)
        for name in _looked_at(op)
    } & images
    found |= {op.output for op in program.operations if isinstance(op, Stitch) and op.blend} & images
    joined = [(op.input, op.output) for op in program.operations if isinstance(op, Stitch) and not op.blend]
    for operation in program.operations:
        if isinstance(operation, Call):
            sides = zip(operation.outputs, operation.otherwise, strict=True)
            joined += [(output, other) for output, other in sides if other is not None and other in images]
    while more := {name for pair in joined if found & set(pair) for name in pair} - found:
        found |= more
    return found


def _looked_at(operation: Call | Keep | Tile | Route) -> tuple[str, ...]:
    if isinstance(operation, Route):
        return tuple(decision.scores for decision in operation.decisions if decision.scores)
    return (operation.input,) if isinstance(operation, Keep) else operation.inputs


def check_images(program: Program) -> None:
    """Images are held as uint8: both sides of a call are, or neither; and all that a state keeps. No rule reads them.

    Raises:
        FlowError: names the segment, the state or the axis.
    """
    images, given = {v.name for v in program.values if v.image}, _given(program)
    kept = {state.name for state in program.states if state.image}
    for operation in program.operations:
        if isinstance(operation, Keep) and (operation.state in kept) != (operation.input in given):
            raise FlowError(
                f"keep: {operation.state} keeps an image that was given in one place, and {operation.input} in another: "
                "let it be two states"
            )
        if isinstance(operation, Route):
            for decision in operation.decisions:
                if decision.scores in given | kept:
                    raise FlowError(
                        f"the axis {decision.variable.name} is decided by {decision.scores}, an image that was given: let a segment make "
                        "scores of it (edgeflow.flow.measures has some without weights)"
                    )
        if not isinstance(operation, Call):
            continue
        for output, other in zip(operation.outputs, operation.otherwise, strict=True):
            if other in given | kept and output in images:
                raise FlowError(
                    f"segment {operation.segment} keeps {other} where it does not run, an input image, as an output image: "
                    "make that side by a segment, too (one that returns its input will do)"
                )
            if other in images and output not in images:
                raise FlowError(
                    f"segment {operation.segment} keeps {other} where it does not run, an image, and {output} is none: "
                    "let a segment that always runs read the image"
                )


def scaled(
    task: Task, assumed: bool, frame: Value, results: Sequence[Value], outputs: Sequence[Interface]
) -> Task:
    """The task with the scale that its pictures are made at.

    Args:
        task: of the model.
        assumed: the model declares none, so that any scale is right.
        frame: the first input.
        results: the values that are the outputs.
        outputs: as declared.

    Raises:
        FlowError: pictures are made at another scale than the model's task says.
    """
    made = []
    for each, value, spec in zip(task.outputs, results, outputs, strict=True):
        scale = _scale(frame, value) if spec.image and frame.image else each.scale
        if not assumed and scale != each.scale:
            raise FlowError(
                f"the task says that the output {spec.name} is {each.scale:g} times as large as a frame, and it is "
                f"{f'{scale:g} times' if scale else 'of another shape'}: mend the task's scale"
            )
        made.append(replace(each, scale=scale or 1.0))
    return replace(task, outputs=tuple(made))


def _scale(frame: Value, picture: Value) -> float:
    """Sides of a picture over those of the frame; 0 if they are not in one ratio."""
    (_, given), *_ = frame.shapes
    (_, made), *_ = picture.shapes
    down, across = (int(b) / int(a) for a, b in zip(given[-2:], made[-2:], strict=True))
    return down if down == across else 0.0
