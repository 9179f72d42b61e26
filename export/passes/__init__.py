"""Graph rewrites that keep the function and remove cost that FLOPs do not show.

One pass per file, which gives it its name (`select_bytes.py` is `select-bytes`): `rewrite(graph) -> int` changes an
onnx-graphsurgeon graph in place and says how many places it changed. Around every pass the interface is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pkgutil import iter_modules

import onnx
import onnx_graphsurgeon as gs

from edgeflow.export.heavy import MOST_BYTES, check, inferred, is_heavy
from edgeflow.export.needed_release import NEEDED
from edgeflow.ir.errors import ExportError
from edgeflow.targets.target import Target, numbers

PASSES: dict[str, Callable[[gs.Graph], int]] = {
    found.name.replace("_", "-"): import_module(f"{__name__}.{found.name}").rewrite
    for found in iter_modules(__path__)
}
"""By the name that a target's description gives."""


NATIVE = {"sample-by-deform-conv": ("onnxruntime", NEEDED["onnxruntime"]["DeformConv"])}
"""Rewrites that leave a deformable convolution, and the first release of the library that runs it."""


def passes_of(target: Target) -> tuple[str, ...]:
    """A target's rewrites, without those whose operators it is not to have, or the release of its library here lacks."""
    return tuple(name for name in target.rewrites if name not in NATIVE or _has_native(target, *NATIVE[name]))


def _has_native(target: Target, package: str, since: str) -> bool:
    if target.operators != "native":
        return False
    try:
        return numbers(version(package)) >= numbers(since)
    except PackageNotFoundError:  # exported here, run elsewhere
        return True


def check_passes(names: Sequence[str]) -> None:
    """Refuse names that no pass has.

    Raises:
        ExportError: says which there are.
    """
    if unknown := [name for name in names if name not in PASSES]:
        raise ExportError(f"no rewrite {unknown[0]!r}: a target's `rewrites` may name {', '.join(PASSES)}")


def run_passes(model: onnx.ModelProto, names: Sequence[str], where: str) -> onnx.ModelProto:
    """Apply passes in turn.

    Args:
        model: a segment's graph.
        names: of the passes, as the target wants them.
        where: the segment, for messages.

    Raises:
        ExportError: no pass has that name, or one changed the graph's interface or left it invalid.
    """
    check_passes(names)
    for name, rewrite in ((name, PASSES[name]) for name in names):
        graph = gs.import_onnx(inferred(model))
        if not rewrite(graph):
            continue
        _refuse_huge(model, name, where)
        changed = gs.export_onnx(graph.cleanup().toposort())
        changed.ir_version = model.ir_version
        onnx.helper.set_model_props(changed, {entry.key: entry.value for entry in model.metadata_props})
        if _interface(changed) != _interface(model):
            raise ExportError(f"{where}: the pass {name} changed the graph's interface; please report this")
        try:
            check(changed)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            reason = str(error).splitlines()[0]
            raise ExportError(f"{where}: the pass {name} left an invalid graph: {reason}") from error
        model = changed
    return model


def _refuse_huge(model: onnx.ModelProto, name: str, where: str) -> None:
    """Graphs that are rewritten are written anew, tensor by tensor.

    Raises:
        ExportError: a tensor is too large for that.
    """
    for tensor in model.graph.initializer:
        if is_heavy(tensor) and len(tensor.raw_data) > MOST_BYTES:
            raise ExportError(
                f"{where}: the weight {tensor.name.removeprefix('owner.')} alone is larger than 2 GiB, which the rewrite {name} that this target needs "
                "cannot take: make it of several parameters (torch.cat)"
            )


def _interface(model: onnx.ModelProto) -> list[tuple[str, int, int]]:
    """Names, types and ranks of inputs and outputs."""
    return [
        (i.name, i.type.tensor_type.elem_type, len(i.type.tensor_type.shape.dim))
        for i in (*model.graph.input, *model.graph.output)
    ]
