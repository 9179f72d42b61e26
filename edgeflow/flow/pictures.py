"""Which values of a program are pictures: held in bytes at run time, where that cannot be, and their scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgeflow.ir.errors import FlowError
from edgeflow.ir.program import Call, Interface, Keep, Program, Sample, Stitch, Tile, Value
from edgeflow.ir.task import Task


def mark_images(program: Program) -> Program:
    """An image output is an image all the way back to the calls that made its tiles, on every branch."""
    images = {v.name for v in program.values if v.image}
    for operation in reversed(program.operations):
        if isinstance(operation, Stitch) and operation.output in images:
            images.add(operation.input)
        if isinstance(operation, Call):
            sides = zip(operation.outputs, operation.otherwise, strict=True)
            images.update(other for output, other in sides if other is not None and output in images)
    values = tuple(replace(v, image=v.name in images) for v in program.values)
    return replace(program, values=values)


def check_images(program: Program) -> None:
    """Images are held as uint8: inputs, their tiles, and outputs that one segment makes and none reads."""
    images = {v.name for v in program.values if v.image}
    given = {spec.name for spec in program.inputs}
    given.update(name for op in program.operations if isinstance(op, Tile) for name in op.outputs)
    given.update(op.output for op in program.operations if isinstance(op, Sample))
    for operation in program.operations:
        if isinstance(operation, Keep) and operation.input in images:
            raise FlowError(f"keep: {operation.input} is an image: keep what a segment makes of it")
        if not isinstance(operation, Call):
            continue
        if read := [name for name in operation.inputs if name in images - given]:
            raise FlowError(
                f"segment {operation.segment} reads {read[0]}, an output image, which is rounded to uint8: "
                "let both read what comes before it"
            )
        for output, other in zip(operation.outputs, operation.otherwise, strict=True):
            if other in given and output in images:
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
