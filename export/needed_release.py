"""The oldest release of an engine library that runs a bundle's graphs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from edgeflow.targets.target import Target, numbers

NEEDED = {"onnxruntime": {"DeformConv": "1.26"}}
"""By library and operator, where that is newer than what targets ask for: ONNX Runtime 1.25.0 has `DeformConv`, and crashes at offsets that are no
numbers."""


def for_operators(target: Target, operators: Iterable[str]) -> Target:
    """The target from the release on that runs all of some operators."""
    needed = NEEDED.get(target.library, {})
    oldest = max((target.minimum, *(needed[op] for op in operators if op in needed)), key=numbers)
    if oldest == target.minimum:
        return target
    newer = (release for release in target.versions if numbers(release) > numbers(oldest))
    return replace(target, versions=(oldest, *newer))
