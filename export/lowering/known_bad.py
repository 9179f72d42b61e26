"""What a bundle carries against operators that TensorRT is known to get wrong: the same graph in another form, and probes.

A probe is one operator as a graph of its own, with inputs, and with what NumPy says it makes of them: `edgeflow build` runs it
on the device before it builds anything, and takes the other form where the device disagrees.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from edgeflow.export.lowering.gathered_sample import Sampling, definition, sampling, with_gathers
from edgeflow.ir.bundle import GraphEntry

OPSET = 19
"""Opset of probes; `GridSample` is known to be wrong up to it, and read as `nearest` from 20 on."""
PICTURE, GRID = (1, 24, 45, 77), (1, 45, 77, 2)
"""Shapes of what is sampled, and where: odd, and as large as a frame's flow at a low resolution."""


def with_other_forms(folder: Path, entries: Mapping[str, GraphEntry]) -> dict[str, GraphEntry]:
    """Write the other forms and the probes of a bundle's graphs; returns the graphs' entries, which name them."""
    made = {}
    for name, entry in entries.items():
        model = onnx.load(folder / entry.file, load_external_data=False)
        ways = {how for node in model.graph.node if (how := sampling(node))}
        if not ways:
            made[name] = entry
            continue
        other = f"graphs/{name}.other.onnx"
        (folder / other).write_bytes(with_gathers(model).SerializeToString(deterministic=True))
        probes = tuple(sorted(_write_probe(folder, how) for how in ways))
        made[name] = replace(entry, other=other, probes=probes)
    return made


def _write_probe(folder: Path, how: Sampling) -> str:
    """Write a probe of a way to sample, unless it is there; returns its name."""
    name = f"grid_sample-{how.padding}-{'corners' if how.align_corners else 'edges'}"
    probes = folder / "probes"
    probes.mkdir(exist_ok=True)
    (probes / f"{name}.onnx").write_bytes(_probe(how).SerializeToString(deterministic=True))
    random = np.random.default_rng(0)
    picture = random.standard_normal(PICTURE).astype(np.float32)
    # A warp's grid: every pixel moved by a few, some beyond the borders.
    ticks = [np.linspace(-1, 1, n) for n in GRID[1:3]]
    rows, columns = np.meshgrid(*ticks, indexing="ij")
    moved = np.stack([columns, rows], -1)[None] + random.standard_normal(GRID) * 0.1
    grid = moved.astype(np.float32)
    arrays = {"in.picture": picture, "in.grid": grid, "out.sampled": definition(picture, grid, how)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    (probes / f"{name}.npz").write_bytes(buffer.getvalue())
    return name


def _probe(how: Sampling) -> onnx.ModelProto:
    node = helper.make_node(
        "GridSample",
        ["picture", "grid"],
        ["sampled"],
        mode="bilinear",
        padding_mode=how.padding,
        align_corners=int(how.align_corners),
    )
    kind = onnx.TensorProto.FLOAT
    shapes = {"picture": PICTURE, "grid": GRID, "sampled": (*PICTURE[:2], *GRID[1:3])}
    infos = {name: helper.make_tensor_value_info(name, kind, shape) for name, shape in shapes.items()}
    graph = helper.make_graph([node], "probe", [infos["picture"], infos["grid"]], [infos["sampled"]])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
