"""Makes tensors of a graph band by band of their rows, so that what lies before them is in memory for one band at a time.

A band is made by copies of the operators before it, each for the rows that the band needs: exactly the halo of its receptive field,
operator by operator. The frame's own ends keep their padding, so every pixel is what it is without bands.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgeflow.export.heavy import add_tensor, without_initialisers
from edgeflow.export.lowering.row_needs import ROWS, Need, Rows, Shapes, cut, need

Bands: TypeAlias = Mapping[str, int]
"""How many bands tensors are made in, by name."""


MOST_NUMBERS = 16
"""Numbers that a constant may hold and be one that says what an operator does: sizes, scales, pads and bounds."""


@dataclass(frozen=True)
class BandPlan:
    """What of a graph is made in bands.

    Attributes:
        bands: of its tensors.
        shapes: of all its tensors, without bands.
    """

    bands: Bands
    shapes: Shapes


def in_bands(model: onnx.ModelProto, plan: BandPlan | None) -> onnx.ModelProto:
    """A graph with some of its tensors made in bands; as it is if there is nothing to be."""
    return Banded(model, plan.shapes).cut(plan.bands).model if plan else model


@dataclass(frozen=True)
class Cut:
    """A graph in bands.

    Attributes:
        model: the graph.
        owners: the target of the region that made each tensor, of all that a region can make.
    """

    model: onnx.ModelProto
    owners: Mapping[str, str]


@dataclass(frozen=True)
class Region:
    """What can be made band by band.

    Attributes:
        target: the tensor that comes of it.
        nodes: numbers of the operators that nothing else reads, in order.
        cuts: numbers of the `Slice`s of rows that alone read the target: its bands, if there are any.
    """

    target: str
    nodes: tuple[int, ...]
    cuts: tuple[int, ...]


class Banded:
    """A graph whose tensors can be made in bands.

    Args:
        model: to be cut.
        shapes: of its tensors, with all dimensions known.
    """

    def __init__(self, model: onnx.ModelProto, shapes: Shapes) -> None:
        self.model, self.shapes = model, shapes
        self.nodes = list(model.graph.node)
        self.constants = {
            tensor.name: numpy_helper.to_array(tensor)
            for tensor in model.graph.initializer
            if prod(tensor.dims) <= MOST_NUMBERS
        }
        self._makers = {name: number for number, node in enumerate(self.nodes) for name in node.output}
        self._readers: defaultdict[str, list[int]] = defaultdict(list)
        for number, node in enumerate(self.nodes):
            for name in filter(None, node.input):
                self._readers[name].append(number)
        for made in model.graph.output:
            self._readers[made.name].append(len(self.nodes))

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """What can be made in bands: each tensor that is read whole, or in bands, with what leads to it alone."""
        found = []
        for number, node in enumerate(self.nodes):
            if not self._fits(number):
                continue
            (target,) = node.output
            readers = self._readers[target]
            cuts = tuple(r for r in readers if r < len(self.nodes) and cut(self.nodes[r], self.constants))
            if len(cuts) < len(readers):
                cuts = ()
            if cuts or any(r == len(self.nodes) or not self._fits(r) for r in readers):
                nodes = self._before(number)
                if len(nodes) > 1:
                    found.append(Region(target, nodes, cuts))
        return tuple(found)

    @property
    def whole(self) -> tuple[str, ...]:
        """Kinds of the operators that look at whole pictures, one for each picture that they read."""
        return tuple(
            node.op_type
            for number, node in enumerate(self.nodes)
            if not self._fits(number) and not cut(node, self.constants)
            for name in node.input
            if len(self.shapes.get(name, ())) == 4 and name in self._makers
        )

    def _fits(self, number: int) -> bool:
        node = self.nodes[number]
        if len(node.output) != 1 or len(self.shapes.get(node.output[0], ())) != 4:
            return False
        height = self.shapes[node.output[0]][ROWS]
        return height > 1 and self._need(number, (0, height)) is not None

    def _need(self, number: int, wanted: Rows) -> Need | None:
        found = need(self.nodes[number], wanted, self.shapes, self.constants)
        return found if found and found.rows else None

    def _before(self, last: int) -> tuple[int, ...]:
        """An operator and all before it whose outputs nothing but these read."""
        inside = {last}
        for number in range(last - 1, -1, -1):
            node = self.nodes[number]
            readers = {reader for name in node.output for reader in self._readers[name]}
            if readers and readers <= inside and self._fits(number):
                inside.add(number)
        return tuple(sorted(inside))

    def cut(self, bands: Bands) -> Cut:
        """The graph with some regions in bands, by the names of their targets; in as many as there are cuts where there are."""
        chosen = [region for region in self.regions if region.target in bands]
        dropped = {number for region in chosen for number in (*region.nodes, *region.cuts)}
        placed: dict[int, list[onnx.NodeProto]] = defaultdict(list)
        constants: dict[str, onnx.TensorProto] = {}
        owners = {
            name: region.target
            for region in self.regions
            for number in region.nodes
            for name in self.nodes[number].output
        }
        for region in chosen:
            for place, band in self._bands(region, bands[region.target]):
                maker = _Band(self, region, f"{region.target}/{band[0][0]}", constants)
                made = maker.nodes_of(*band)
                placed[place] += made
                owners |= {name: region.target for node in made for name in node.output}
            if not region.cuts:
                count = bands[region.target]
                parts = [_part(region.target, i) for i in range(count)]
                joined = helper.make_node("Concat", parts, [region.target], axis=ROWS)
                joined.name = f"{self.nodes[region.nodes[-1]].name}/bands"
                placed[region.nodes[-1]].append(joined)
        nodes = []
        for number, node in enumerate(self.nodes):
            nodes += placed.get(number, [])
            if number not in dropped:
                nodes.append(node)
        return Cut(self._with(nodes, constants.values()), owners)

    def _with(
        self, nodes: Sequence[onnx.NodeProto], constants: Iterable[onnx.TensorProto]
    ) -> onnx.ModelProto:
        """The graph of other nodes, with constants beside its own."""
        made = without_initialisers(self.model)
        del made.graph.node[:]
        made.graph.node.extend(nodes)
        for tensor in (*self.model.graph.initializer, *constants):
            add_tensor(made.graph, tensor)
        return made

    def _bands(self, region: Region, count: int) -> Iterator[tuple[int, tuple[Rows, str]]]:
        """Each band's rows and name, and the number of the node before which it is made."""
        for number in region.cuts:
            rows = cut(self.nodes[number], self.constants)
            assert rows is not None
            (name,) = self.nodes[number].output
            yield number, ((rows[0], min(rows[1], self.shapes[region.target][ROWS])), name)
        if not region.cuts:
            height = self.shapes[region.target][ROWS]
            for i in range(count):
                rows = height * i // count, height * (i + 1) // count
                yield region.nodes[-1], (rows, _part(region.target, i))

    def most(self, region: Region) -> int:
        """Bands that a region can be made in: of eight rows at least."""
        return len(region.cuts) or max(self.shapes[region.target][ROWS] // 8, 1)


class _Band:
    """Copies of a region's operators for the rows that one band needs."""

    def __init__(
        self, graph: Banded, region: Region, label: str, constants: dict[str, onnx.TensorProto]
    ) -> None:
        self._graph, self._region, self._label, self._constants = graph, region, label, constants
        self._made: dict[str, tuple[str, Rows]] = {}
        self._nodes: list[onnx.NodeProto] = []

    def nodes_of(self, wanted: Rows, name: str) -> list[onnx.NodeProto]:
        """The nodes that make rows of the target under a name."""
        needs = self._needs(wanted)
        for number, found in needs:
            self._copy(self._graph.nodes[number], found)
        self._nodes.append(
            helper.make_node("Identity", [self._rows(self._region.target, wanted)], [name], f"{name}/band")
        )
        return self._nodes

    def _needs(self, wanted: Rows) -> list[tuple[int, Need]]:
        """What each operator makes, in order: all rows that any after it needs."""
        rows: dict[str, Rows] = {self._region.target: wanted}
        found = []
        for number in reversed(self._region.nodes):
            node = self._graph.nodes[number]
            own = self._graph._need(number, rows[node.output[0]])
            assert own is not None
            for position, part in own.rows.items():
                name = node.input[position]
                before = rows.get(name, part)
                rows[name] = min(before[0], part[0]), max(before[1], part[1])
            found.append((number, own))
        return found[::-1]

    def _copy(self, node: onnx.NodeProto, found: Need) -> None:
        (output,) = node.output
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        inputs = [
            self._rows(name, found.rows[i]) if i in found.rows else name for i, name in enumerate(node.input)
        ]
        for kind, constant in found.before:
            first = self._constant(constant)
            inputs[0] = self._add(kind, [first, inputs[0]], f"{node.name}/{kind}")
        for position, constant in found.constants.items():
            inputs[position] = self._constant(constant)
        del copy.input[:], copy.output[:]
        copy.input.extend(inputs)
        made = f"{output}/{self._label}"
        copy.output.append(made)
        copy.name = f"{node.name}/{self._label}"
        for name, value in found.attributes.items():
            for attribute in [a for a in copy.attribute if a.name == name]:
                copy.attribute.remove(attribute)
            copy.attribute.append(helper.make_attribute(name, value))
        self._nodes.append(copy)
        self._made[output] = made, found.made

    def _rows(self, name: str, wanted: Rows) -> str:
        """Rows of a tensor, cut from what there is of it."""
        own, there = self._made.get(name, (name, (0, self._graph.shapes[name][ROWS])))
        if wanted == there:
            return own
        first, end = (row - there[0] for row in wanted)
        bounds = [self._constant(np.array([value], np.int64)) for value in (first, end, ROWS)]
        return self._add("Slice", [own, *bounds], f"{own}/rows{first}")

    def _add(self, kind: str, inputs: Sequence[str], name: str) -> str:
        made = f"{name}/{self._label}.{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [made], made))
        return made

    def _constant(self, values: NDArray[np.generic]) -> str:
        """The name of a constant; equal ones have one."""
        digest = hashlib.sha256(f"{values.dtype}{values.shape}".encode() + values.tobytes())
        name = f"band_{digest.hexdigest()[:20]}"
        self._constants.setdefault(name, numpy_helper.from_array(values, name))
        return name


def _part(target: str, number: int) -> str:
    return f"{target}/band_{number}"
