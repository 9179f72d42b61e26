"""Which values of a program are pictures: held in bytes at run time, and where that cannot be."""

from __future__ import annotations

from dataclasses import replace

from edgeflow.ir.errors import FlowError
from edgeflow.ir.program import Call, Keep, Program, Stitch, Tile


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
