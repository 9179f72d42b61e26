"""The steps that bring a packed bundle, which is fp32, to its target's precision: each takes and returns a draft."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgeflow.export.bundle_draft import BundleDraft, Step
from edgeflow.export.lowering.known_bad import with_other_forms
from edgeflow.export.precision.calibrate import check_clip
from edgeflow.export.precision.pays import bf16_where_it_pays
from edgeflow.export.precision.rules import at_bf16
from edgeflow.export.precision.typed import at_half
from edgeflow.export.stopwatch import Stopwatch
from edgeflow.ir.errors import ExportError
from edgeflow.ir.installing import with_extras
from edgeflow.ir.libraries import library
from edgeflow.targets import Target

Told = Callable[[str, int, int], None]
"""Told what is being done, how many are done, and how many there are."""


def precision_steps(
    target: Target,
    frames: Sequence[NDArray[np.uint8]],
    sizes: Sequence[tuple[int, int]],
    watch: Stopwatch,
    progress: Told,
) -> tuple[Step, ...]:
    """The steps for a target, in order.

    Args:
        target: with its precision.
        frames: of a clip (h, w, 3) uint8, which int8 is calibrated with.
        sizes: (height, width) that frames are fixed to; none if they stay free.
        watch: told what they take.
        progress: told of every graph.

    Raises:
        ExportError: int8 lacks frames of that size or its quantiser.
    """
    steps: list[Step] = []
    if target.precision == "int8":
        steps.append(_quantising(frames, sizes, watch, progress))
    elif target.precision == "bf16" and not target.half:
        steps += [_mark_bf16, _timing_bf16(watch, progress), _measure_bf16]
    if target.half:
        steps.append(_type_half)
    if library(target.library).vetted:
        steps.append(_add_other_forms)
    return tuple(steps)


def _quantising(
    frames: Sequence[NDArray[np.uint8]], sizes: Sequence[tuple[int, int]], watch: Stopwatch, progress: Told
) -> Step:
    """Quantises with a clip, once it is sure that it can."""
    if not frames:
        raise ExportError(
            "int8 is calibrated with frames of the kind the bundle will see: give a video with --clip"
        )
    check_clip(frames, sizes)
    try:
        from edgeflow.export.precision.quantise import quantise
    except ImportError as error:
        raise ExportError(f"int8 needs {error.name}: {with_extras('onnxruntime')}") from error

    def step(draft: BundleDraft) -> BundleDraft:
        with watch.part("quantise"):
            graphs, weights, layers = quantise(draft.as_bundle(), frames, progress)
        return replace(draft.with_weights(graphs, weights), layers=layers)

    return step


def _mark_bf16(draft: BundleDraft) -> BundleDraft:
    return replace(draft, graphs=at_bf16(draft.graphs, draft.plans))


def _timing_bf16(watch: Stopwatch, progress: Told) -> Step:
    def step(draft: BundleDraft) -> BundleDraft:
        with watch.part("bf16"):
            return replace(draft, graphs=bf16_where_it_pays(draft.as_bundle(), progress))

    return step


def _measure_bf16(draft: BundleDraft) -> BundleDraft:
    """What layers lose, where ONNX Runtime is here to find it."""
    with suppress(ImportError):
        from edgeflow.export.precision.layer_errors import bf16_errors

        return replace(draft, layers=bf16_errors(draft.as_bundle()))
    return draft


def _type_half(draft: BundleDraft) -> BundleDraft:
    assert draft.target.half
    plans, graphs, weights = at_half(draft.as_bundle(), draft.target.half)
    return replace(draft.with_weights(graphs, weights), plans=plans)


def _add_other_forms(draft: BundleDraft) -> BundleDraft:
    return replace(draft, graphs=with_other_forms(draft.folder, draft.graphs))
