"""Lowers the segment variants of an export, each once, and keeps them on disk until it is done."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import torch

import edgeflow
from edgeflow.export.graph_cache import GraphCache
from edgeflow.export.lower import lower
from edgeflow.export.plan import Link
from edgeflow.export.stopwatch import Stopwatch
from edgeflow.flow.module import RoutedModule
from edgeflow.ir.files import write_atomically
from edgeflow.ir.program import FRAME, Program

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and how many there are."""


@dataclass
class Lowering:
    """Lowers segment variants, each once, and keeps them on disk until the export is done."""

    model: RoutedModule
    folder: Path
    digest: str
    rewrites: tuple[str, ...]
    deform_conv: str
    progress: Progress
    watch: Stopwatch
    total: int = 0
    better: Callable[[Program, Link, onnx.ModelProto], onnx.ModelProto] = lambda program, part, graph: graph
    done: dict[str, onnx.ModelProto] = field(default_factory=dict)
    cache: GraphCache = field(default_factory=GraphCache)
    resumed: int = 0

    def graph(self, program: Program, part: Link) -> onnx.ModelProto:
        """The graph of one link; from memory or disk if it was made before."""
        key = link_key(program, part, f"{self.rewrites}{self.deform_conv}{self.digest}")
        if key not in self.done:
            file = self.folder / f"{key}.onnx"
            if file.is_file():
                self.done[key] = onnx.load(file)
                self.resumed += 1
            else:
                with self.watch.part("lower"):
                    lowered = lower(self.model, program, part, self.rewrites, self.deform_conv, self.cache)
                with self.watch.part("try forms"):
                    self.done[key] = self.better(program, part, lowered)
                write_atomically(file, self.done[key].SerializeToString())
            self.progress(f"lower {part.call.segment}", len(self.done), self.total)
        return self.done[key]


def link_key(program: Program, part: Link, digest: str) -> str:
    """What a lowered segment depends on, as a hash."""
    values = dict(part.variant)
    names = (*part.call.inputs, *part.call.outputs)
    shapes = [(program.value(n).shape(values), program.value(n).image) for n in names]
    free = any(isinstance(d, str) for shape, _ in shapes for d in shape)
    chosen = [(k, values[v]) for k, v in part.call.axes]
    what = (part.call.segment, shapes, part.call.regions == FRAME, chosen, part.call.constants)
    text = repr((what, program.frame if free else "", digest))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def model_digest(model: RoutedModule) -> str:
    """Hash of a model's weights, settings and source, and of the versions that lower it."""
    digest = hashlib.sha256(f"{edgeflow.__version__} {torch.__version__} {onnx.__version__}".encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    for name, module in model.named_modules():
        plain = {k: v for k, v in vars(module).items() if isinstance(v, bool | int | float | str | tuple)}
        digest.update(f"{name} {type(module).__qualname__} {sorted(plain.items())}".encode())
    for source in sorted({_source(type(module)) for module in model.modules()}):
        digest.update(source.encode())
    return digest.hexdigest()


def _source(module: type) -> str:
    """The file a class comes from; nothing for one typed into an interpreter."""
    try:
        return Path(inspect.getfile(module)).read_text()
    except (OSError, TypeError):
        return ""
