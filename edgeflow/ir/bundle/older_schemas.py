"""Brings manifests of older schemas to the newest one's form, before they are checked."""

from __future__ import annotations

from typing import Any

from edgeflow.ir.program import FRAME

Version = tuple[int, int]


def to_newest(data: dict[str, Any], version: Version) -> None:
    """Change a manifest of an older schema, in place.

    Raises:
        KeyError, TypeError, ValueError, AttributeError, IndexError: it lacks or misstates what that schema had.
    """
    if version == (1, 0):
        _to_1_1(data)
    if version < (1, 2):
        _to_1_2(data)
    if version < (1, 3):
        _to_1_3(data)
    if version < (1, 4):
        _to_1_4(data)
    if version < (1, 7):
        _to_1_7(data)
    if version < (1, 8):
        _to_1_8(data)


def _to_1_1(data: dict[str, Any]) -> None:
    """Move a 1.0 manifest's fields to where 1.1 has them; its target had no roofline."""
    data["target"].setdefault("roofline", {"gflops": 200.0, "gbytes": 10.0, "launch_ms": 0.1})
    moved = {name: (entry.pop("flops"), entry.pop("golden")) for name, entry in data["graphs"].items()}
    for plan in data["plans"].values():
        batches = plan.pop("batches")
        for step in plan["steps"]:
            for graph in step.get("graphs", ()):
                graph["flops"], graph["golden"] = moved[graph["graph"]]
                graph["batches"] = batches if step["regions"] != FRAME else [1]


def _to_1_2(data: dict[str, Any]) -> None:
    """Let a 1.1 manifest's target name releases of its library, of which it named the oldest."""
    data["target"].setdefault("versions", [data["target"].pop("minimum", "0")])


def _to_1_3(data: dict[str, Any]) -> None:
    """A 1.2 manifest, in which it is not known which routes were planned for."""
    for plan in data["plans"].values():
        for step in plan["steps"]:
            for graph in step.get("graphs", ()):
                graph["expected"] = None


def _to_1_4(data: dict[str, Any]) -> None:
    """Tiles of a 1.3 manifest begin at any pixel, and its pictures are as large as its frames."""
    for plan in data["plans"].values():
        for step in plan["steps"]:
            if step["kind"] == "tile":
                step["multiple"] = 1


def _to_1_7(data: dict[str, Any]) -> None:
    """Engines of a 1.6 bundle say nothing of their pictures but bytes."""
    for plan in data["plans"].values():
        for step in plan["steps"]:
            for graph in step.get("graphs", ()):
                graph["means"] = []


def _to_1_8(data: dict[str, Any]) -> None:
    """Calls of a 1.7 bundle take frames alone, and work is known at one size of frames."""
    if "task" in data:
        data["task"]["timed"] = False
    for plan in data["plans"].values():
        chains = (graph for chain in plan.get("chains", ()) for graph in chain["graphs"])
        for graph in (*chains, *(graph for step in plan["steps"] for graph in step.get("graphs", ()))):
            graph["flops_per_pixel"] = 0.0
