"""A bundle as plain ONNX files and a manifest that says which file runs when, for other runtimes than edgeflow's.

    routes.json          inputs, outputs, states, and the steps of a frame, with the condition of every file
    graphs/*.onnx        ONNX opset 19, one for each variant of a stage
    graphs/weights.bin   their external data, each weight once

`examples/run_routes.py` reads it, with numpy and ONNX Runtime alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeflow.ir.bundle import Bundle
from edgeflow.ir.bundle.graph_files import WEIGHTS
from edgeflow.ir.bundle.whole_folder import folder_written_whole
from edgeflow.ir.errors import BundleError, ExportError
from edgeflow.ir.interface import Interface, held_shape
from edgeflow.ir.plan import Plan, Port, Stage, StageGraph, Step
from edgeflow.ir.program import Keep, Route, Sample, Stitch, Tile
from edgeflow.ir.route import Condition
from edgeflow.ir.task import task_to_json

FORMAT = "edgeflow-onnx-routes"
VERSION = 1
ROUTES = "routes.json"


def write_plain(bundle: Bundle, output: Path) -> list[str]:
    """Write a bundle's graphs and what runs when into a folder.

    Args:
        bundle: what is written; its chains are left out, which only run steps ahead.
        output: a folder that is not there, or one that this wrote before.

    Returns:
        The ONNX files, by their paths in the folder.

    Raises:
        ExportError: a graph has operators that ONNX lacks.
        BundleError: the folder holds something else, or cannot be written.
    """
    check_plain_place(output, overwrite=True)
    plans = bundle.manifest.plans
    used = sorted({graph.graph for plan in plans.values() for stage in plan.stages for graph in stage.graphs})
    own = sorted({name for graph in used for name in bundle.manifest.graphs[graph].plugins})
    if own:
        raise ExportError(
            f"{', '.join(own)} are no operators of ONNX: export with --operators standard, or for a target without plugins"
        )
    files = {graph: bundle.manifest.graphs[graph].file for graph in used}
    told = {
        "format": FORMAT,
        "version": VERSION,
        "model": bundle.manifest.model,
        "precision": {files[graph]: bundle.manifest.graphs[graph].precision for graph in used},
        "task": task_to_json(bundle.manifest.task),
        "plans": {kind: _plan(plan, files) for kind, plan in plans.items()},
    }
    with folder_written_whole(output) as folder:
        (folder / "graphs").mkdir(parents=True)
        for name in [*files.values(), WEIGHTS]:
            if (bundle.path / name).exists():
                shutil.copyfile(bundle.path / name, folder / name)
        (folder / ROUTES).write_text(json.dumps(told, indent=1) + "\n")
    return list(files.values())


def check_plain_place(output: Path, overwrite: bool) -> None:
    """Refuse a folder that somebody would lose.

    Raises:
        BundleError: it holds something else than what `write_plain` wrote, or may not be replaced.
    """
    if not output.exists():
        return
    try:
        ours = json.loads((output / ROUTES).read_text())["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours or not overwrite:
        held = "ONNX files of an earlier export" if ours else "something else"
        ways = "choose another name" + (", or replace it with --overwrite" if ours else "")
        raise BundleError(f"{output} holds {held}: {ways}")


def _plan(plan: Plan, files: Mapping[str, str]) -> dict[str, Any]:
    return {
        "inputs": [_interface(spec) for spec in plan.inputs],
        "outputs": [
            {**_interface(spec), "value": value}
            for spec, value in zip(plan.outputs, plan.results, strict=True)
        ],
        "states": [
            {"value": state.name, "regions": state.regions, "shape": list(state.shape), "fill": state.fill}
            for state in plan.states
        ],
        "steps": [_step(step, files) for step in plan.steps],
    }


def _interface(spec: Interface) -> dict[str, Any]:
    shape = held_shape(spec.shape) if spec.image else spec.shape
    return {"name": spec.name, "dtype": "uint8" if spec.image else "float32", "shape": list(shape)}


def _step(step: Step, files: Mapping[str, str]) -> dict[str, Any]:
    match step:
        case Tile():
            sides = {"inputs": list(step.inputs), "outputs": list(step.outputs)}
            grid = {name: getattr(step, name) for name in ("size", "halo", "multiple", "smaller")}
            return {"do": "tile", "regions": step.regions, **sides, **grid}
        case Route():
            return {
                "do": "decide",
                "regions": step.regions,
                "decisions": [_decision(d) for d in step.decisions],
            }
        case Stage():
            return {
                "do": "run",
                "name": step.name,
                "regions": step.regions,
                "files": [_file(graph, files) for graph in step.graphs],
                "otherwise": dict(step.otherwise),
            }
        case Stitch():
            what = {"input": step.input, "output": step.output, "blend": step.blend}
            return {"do": "stitch", "regions": step.regions, **what}
        case Keep():
            return {"do": "keep", "state": step.state, "input": step.input, "when": _condition(step.when)}
        case Sample():
            return {"do": "sample", "input": step.input, "output": step.output, "variable": step.variable}


def _decision(decision: Any) -> dict[str, Any]:
    meaning = " ".join((type(decision.rule).__doc__ or "").split("\n\n")[0].split())
    return {
        "variable": decision.variable.name,
        "values": list(decision.variable.axis.values),
        "rule": decision.rule.to_json(),
        "meaning": meaning,
        "scores": decision.scores,
        "over_patch": decision.pooled or None,
    }


def _file(graph: StageGraph, files: Mapping[str, str]) -> dict[str, Any]:
    return {
        "file": files[graph.graph],
        "when": _condition(graph.select),
        "inputs": [_port(port) for port in graph.inputs],
        "outputs": [_port(port) for port in graph.outputs],
        "unchanged": dict(graph.kept),
        "batches": list(graph.batches),
    }


def _port(port: Port) -> dict[str, Any]:
    return {"value": port.value, "tensor": port.tensor, "dtype": port.dtype, "shape": list(port.shape)}


def _condition(condition: Condition) -> Any:
    """`true`, `{"variable": .., "in": [..]}`, or `{"all": [..]}`, `{"any": [..]}`, `{"not": ..}` of these."""
    match condition.op:
        case "true":
            return True
        case "in":
            return {"variable": condition.variable, "in": list(condition.values)}
        case "not":
            return {"not": _condition(condition.terms[0])}
        case _:
            return {"all" if condition.op == "and" else "any": [_condition(term) for term in condition.terms]}
