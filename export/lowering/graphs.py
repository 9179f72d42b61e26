"""Lowers the segment variants of an export, each once, and keeps them on disk until it is done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import onnx

from edgeflow.export.drafts import Link, plan
from edgeflow.export.lowering.graph_cache import GraphCache
from edgeflow.export.lowering.segment import load_exporter, lower
from edgeflow.export.stopwatch import Stopwatch
from edgeflow.export.weights import save_graph
from edgeflow.export.workers import do_in_processes, processes_for
from edgeflow.flow.module import RoutedModule
from edgeflow.flow.segments import find_segment
from edgeflow.ir.program import FRAME, Program

ChooseForm = Callable[[Program, Link, onnx.ModelProto], onnx.ModelProto]
"""A lowered segment in the form that it takes."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and how many there are."""


@dataclass
class Lowering:
    """Lowers segment variants, each once, and keeps them on disk until the export is done.

    Attributes:
        choose_form: a lowered graph in the form that it takes.
        total: segment variants that there are.
        done: graphs by key.
        resumed: graphs that an export before this one left.
    """

    model: RoutedModule
    folder: Path
    digest: str
    rewrites: tuple[str, ...]
    operators: str
    progress: Progress
    watch: Stopwatch
    cache: GraphCache = field(default_factory=GraphCache)
    choose_form: ChooseForm = lambda program, part, graph: graph
    total: int = 0
    done: dict[str, onnx.ModelProto] = field(default_factory=dict)
    resumed: int = 0

    def __post_init__(self) -> None:
        self._found = {file.stem for file in self.folder.glob("*.onnx")}

    def lower(self, programs: Sequence[Program]) -> Lowered:
        """The graphs of all that the programs' routes need, made in processes if there are enough of them to pay."""
        self._prepare(programs)
        for program, part in links(programs):
            self._graph(program, part)
        return Lowered(dict(self.done), self._settings, self.total, self.resumed)

    def _prepare(self, programs: Iterable[Program]) -> None:
        parts = {self._key(program, part): (program, part) for program, part in links(programs)}
        self.total = len(parts)
        missing = {key: parts[key] for key in parts if not self._file(key).is_file()}
        jobs = [partial(self._lower_all, alike) for alike in self._alike(missing)]
        if count := processes_for(len(jobs)):
            with self.watch.part("lower"):
                load_exporter()
                do_in_processes(jobs, count, lambda: self._count(parts))

    def _graph(self, program: Program, part: Link) -> onnx.ModelProto:
        """The graph of one link; from memory or disk if it was made before."""
        key = self._key(program, part)
        if key not in self.done:
            with self.watch.part("lower"):
                lowered = self._lowered(key, program, part)
            with self.watch.part("try forms"):
                self.done[key] = self._best(key, program, part, lowered)
            self.resumed += key in self._found
            self.progress(f"lower {part.call.segment}", len(self.done), self.total)
        return self.done[key]

    def _lowered(self, key: str, program: Program, part: Link) -> onnx.ModelProto:
        file = self._file(key)
        if file.is_file():
            return onnx.load(file)
        made = lower(self.model, program, part, self.rewrites, self.operators, self.cache)
        save_graph(made, file)
        return made

    def _best(self, key: str, program: Program, part: Link, lowered: onnx.ModelProto) -> onnx.ModelProto:
        """The form that was timed to be the fastest; kept where that is another one."""
        file = self._file(f"{key}.best")
        if file.is_file():
            return onnx.load(file)
        best = self.choose_form(program, part, lowered)
        if best is not lowered:
            save_graph(best, file)
        return best

    def _lower_all(self, parts: Mapping[str, tuple[Program, Link]]) -> None:
        for key, (program, part) in parts.items():
            self._lowered(key, program, part)

    def _alike(self, parts: Mapping[str, tuple[Program, Link]]) -> list[dict[str, tuple[Program, Link]]]:
        """Segments that may differ in weights alone stay together, so that one process exports their graph once."""
        groups: dict[str, dict[str, tuple[Program, Link]]] = {}
        for key, (program, part) in parts.items():
            segment = find_segment(self.model, part.call.segment)
            owner = getattr(segment, "__self__", segment)
            kind = f"{type(owner)} {getattr(segment, '__name__', '')} {_interface(program, part)[1:]}"
            groups.setdefault(kind, {})[key] = (program, part)
        return list(groups.values())

    def _count(self, parts: Iterable[str]) -> int:
        done = sum(self._file(key).is_file() for key in parts)
        self.progress("lower", min(done, self.total - 1), self.total)
        return done

    def _key(self, program: Program, part: Link) -> str:
        return link_key(program, part, self._settings)

    @property
    def _settings(self) -> str:
        return f"{self.rewrites}{self.operators}{self.digest}"

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.onnx"


@dataclass(frozen=True)
class Lowered:
    """The graphs of every segment variant that some programs need.

    Attributes:
        graphs: by key.
        settings: what the keys hold besides.
        total: segment variants that there are.
        resumed: graphs that an export before this one left.
    """

    graphs: Mapping[str, onnx.ModelProto]
    settings: str
    total: int
    resumed: int

    def graph(self, program: Program, part: Link) -> onnx.ModelProto:
        """The graph of one link."""
        return self.graphs[link_key(program, part, self.settings)]


def links(programs: Iterable[Program]) -> Iterator[tuple[Program, Link]]:
    """Every segment variant that programs need; one that both need comes twice."""
    for program in programs:
        for stage in plan(program, "chained").stages:
            for variant in stage.variants:
                yield from ((program, part) for part in variant.links)


def link_key(program: Program, part: Link, digest: str) -> str:
    """What a lowered segment depends on, as a hash."""
    return hashlib.sha256(repr((*_interface(program, part), digest)).encode()).hexdigest()[:24]


def _interface(program: Program, part: Link) -> tuple[Any, ...]:
    """A segment variant's name, its shapes and what it is called with."""
    values = dict(part.variant)
    names = (*part.call.inputs, *part.call.outputs)
    shapes = [(program.value(n).shape(values), program.value(n).image) for n in names]
    free = any(isinstance(d, str) for shape, _ in shapes for d in shape)
    chosen = [(k, values[v]) for k, v in part.call.axes]
    frame = program.frame if free else ""
    return part.call.segment, shapes, part.call.regions == FRAME, chosen, part.call.constants, frame
