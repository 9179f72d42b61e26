"""What is measured: a family's model, the frames it sees, and the bundles it is compiled to."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from edgeflow.cli.clips import first_frames
from edgeflow.export.compile import compile_model
from edgeflow.export.planning.expected_routes import ExpectedRoutes
from edgeflow.flow import RoutedModule, trace
from edgeflow.ir.bundle import MANIFEST
from edgeflow.ir.program import region_counts
from edgeflow.ir.route import assignment
from edgeflow.models import family
from edgeflow.models.weights import load_weights
from edgeflow.runtime.stream.policy import Policy
from edgeflow.targets import Target

Pictures = list[NDArray[np.uint8]]


def subject(
    name: str, preset: str, variant: str = "", weights: Path | None = None
) -> tuple[RoutedModule, bool]:
    """A family's model, and whether its weights are trained: those given, or packaged; else random, by seed 0."""
    torch.manual_seed(0)
    model = family(name).model(preset, variant)
    weights = weights or family(name).weights(preset, variant)
    if weights is not None:
        load_weights(model, weights)
    return model, weights is not None


def pictures_of(clip: Path, count: int, size: tuple[int, int] | None = None) -> Pictures:
    """The first frames of a clip, resized to `size` (height, width) if given."""
    pictures = first_frames(clip, count)
    if len(pictures) < count:
        raise SystemExit(f"{clip} has {len(pictures)} frames, {count} are needed: ask for fewer frames")
    if size is None or pictures[0].shape[:2] == size:
        return pictures
    height, width = size
    return [
        np.asarray(Image.fromarray(p).resize((width, height), Image.Resampling.BICUBIC)) for p in pictures
    ]


def parsed_size(text: str) -> tuple[int, int]:
    """`1280x720` -> (720, 1280)."""
    width, height = map(int, text.split("x"))
    return height, width


@contextmanager
def bundle_folder(kept: Path | None) -> Iterator[Path]:
    """The folder where bundles are kept, or one that is gone afterwards."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)


TARGETS = {"onnxruntime": "cpu", "openvino": "openvino-cpu"}
"""By engine library."""


def exported(
    path: Path,
    model: RoutedModule,
    target: Target,
    plan: str = "chained",
    sizes: Sequence[tuple[int, int]] = (),
    frames: Sequence[Any] = (),
    mix: ExpectedRoutes | None = None,
    memory: int | None = None,
    compare: bool = True,
) -> Path:
    """The bundle at `path`; compiled if there is none, taken as it is if there is one. Not compared with the model where the benchmark does that."""
    if not (path / MANIFEST).exists():
        compile_model(
            model,
            target,
            path,
            reference={},
            strategy=plan,
            sizes=sizes,
            frames=frames,
            expected=mix,
            memory=memory,
            compare=compare,
        )
    return path


def mix_of(model: RoutedModule, policy: Policy, size: tuple[int, int]) -> ExpectedRoutes:
    """The routes that a policy deals out whatever the model says, for the planner."""
    program = trace(model)
    counts = region_counts(program.operations, size)
    chosen = {
        v.name: [v.axis.values[i] for i in policy.choose(v, np.zeros(counts["tiles"], np.intp))]
        for v in program.variables
    }
    tiles = Counter(
        assignment(dict(zip(chosen, route, strict=True))) for route in zip(*chosen.values(), strict=True)
    )
    return ExpectedRoutes(({"tiles": tiles, "frame": {next(iter(tiles)): 1}},), "a fixed mix")
