"""Draws `docs/structure.svg`: the folders, the layers that the import contract holds, and how many files each has.

Arrows are imports: a layer may import those below it. Run by `make docs`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
INSIDE = {
    "edgeflow.flow": "the flow",
    "edgeflow.export": "the compiler",
    "edgeflow.runtime": "the runtime",
    "edgeflow.ir": "what all share",
}
ABOUT = {
    "cli": "one file per command",
    "training": "data, losses, curricula",
    "wrap": "static networks, routed",
    "report": "the page of a profile",
    "hosts": "inside other people's programs",
    "models": "families, one folder each",
    "export": "the compiler",
    "flow": "primitives and four interpreters",
    "runtime": "sessions: numpy and an engine library",
    "ops": "operators",
    "targets": "devices, TensorRT's builder and plugins",
    "ir": "the shared language: numpy alone",
}
WIDTH, ROW, GAP = 1060, 26, 34


def layers(contract: str) -> list[list[str]]:
    """The layers of one contract, top first, each with the modules that stand side by side."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts: Any = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (found,) = [one for one in contracts if one["name"] == contract]
    return [[module.strip() for module in layer.split("|")] for layer in found["layers"]]


def files(module: str) -> int:
    """Python files of a module: of its folder and the folders in it, or one."""
    path = ROOT / module.replace(".", "/")
    return (
        len([file for file in path.resolve().rglob("*.py") if file.name != "__init__.py"])
        if path.is_dir()
        else 1
    )


def inside(module: str) -> list[str]:
    """A line for each layer in a folder."""
    if module not in INSIDE:
        return []
    names = [
        [own.split(".")[-1] for own in layer] for layer in layers(f"downward only, inside {INSIDE[module]}")
    ]
    return ["  |  ".join(layer) for layer in names]


def box(module: str, left: float, top: float, width: float, height: float) -> list[str]:
    """A folder as a box with its layers."""
    name = module.split(".")[-1]
    lines = [
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="8" fill="#eef3fb" stroke="#5b7db1"/>',
        f'<text x="{left + 14}" y="{top + 23}" font-weight="bold" fill="#1b2a41">{name}</text>',
        f'<text x="{left + width - 14}" y="{top + 23}" text-anchor="end" fill="#5b6b82">{files(module)} files</text>',
        f'<text x="{left + 14}" y="{top + 43}" fill="#33445c" font-size="12">{ABOUT[name]}</text>',
    ]
    for number, text in enumerate(inside(module)):
        y = top + 54 + ROW * number
        lines += [
            f'<rect x="{left + 12}" y="{y}" width="{width - 24}" height="{ROW - 5}" rx="4" fill="#ffffff" stroke="#b9c8de"/>',
            f'<text x="{left + 20}" y="{y + 15}" font-size="11" fill="#33445c">{text}</text>',
        ]
    return lines


def drawn() -> str:
    """The picture."""
    parts: list[str] = []
    top = 16.0
    for number, layer in enumerate(stack := layers("downward only")):
        height = 56 + ROW * max(len(inside(module)) for module in layer)
        width = (WIDTH - 32 - 16 * (len(layer) - 1)) / len(layer)
        for place, module in enumerate(layer):
            parts += box(module, 16 + place * (width + 16), top, width, height)
        top += height
        if number + 1 < len(stack):
            parts += _arrow(WIDTH / 2, top + 4, top + GAP - 4)
        top += GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top - GAP + 16:.0f}" font-family="sans-serif" font-size="14">'
    back = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return "\n".join([head, back, *parts, "</svg>"]) + "\n"


def _arrow(x: float, start: float, end: float) -> Sequence[str]:
    return [
        f'<line x1="{x}" y1="{start}" x2="{x}" y2="{end - 6}" stroke="#5b7db1" stroke-width="2"/>',
        f'<path d="M {x - 5} {end - 8} L {x + 5} {end - 8} L {x} {end} Z" fill="#5b7db1"/>',
    ]


if __name__ == "__main__":
    (ROOT / "docs" / "structure.svg").write_text(drawn())
