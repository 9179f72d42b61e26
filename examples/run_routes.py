"""Runs what `edgeflow export MODEL --format onnx` writes, with numpy and ONNX Runtime alone: a reader to begin your own with.

INPUTS.npz has an array for every input, with a first dimension that counts calls; OUTPUTS.npz gets the same of every output.
All rules are read but `nearest` and `within`, which go by the length of a clip, and by time; so are all steps but `sample`, which
goes with them, and tiles that fade into each other.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from math import ceil
from pathlib import Path

import numpy as np
import onnxruntime


class Runner:
    """One stream of frames of one size (height, width)."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        told = json.loads((folder / "routes.json").read_text())
        assert (told["format"], told["version"]) == ("edgeflow-onnx-routes", 1)
        plans = told["plans"]
        kind = "portrait" if size[0] > size[1] else "landscape"
        self.plan = next(plans[name] for name in (f"{size[1]}x{size[0]}", "any", kind) if name in plans)
        self.size, self.folder, self.engines = size, folder, {}
        self.grids = {s["regions"]: Grid(size, s) for s in self.plan["steps"] if s["do"] == "tile"}
        self.reset()

    def reset(self) -> None:
        """A new stream, or a scene cut."""
        self.since: dict[str, int] = {}
        self.states = {}
        for state in self.plan["states"]:
            shape = [dict(zip(("height", "width"), self.size, strict=True)).get(n, n) for n in state["shape"]]
            count = len(self.grids[state["regions"]].tiles) if state["regions"] in self.grids else 1
            self.states[state["value"]] = np.full((count, *shape), state["fill"], np.float32)

    def __call__(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One call: every value is an array with a row for each region; a frame is one region."""
        self.values = {name: array[None] for name, array in inputs.items()} | self.states
        self.routes: dict[str, np.ndarray] = {}
        kept = {}
        for step in self.plan["steps"]:
            if step["do"] == "keep":
                rows = np.broadcast_to(self.holds(step["when"]), len(self.states[step["state"]]))
                after = kept.get(step["state"], self.states[step["state"]]).copy()
                after[rows] = self.values[step["input"]][rows]
                kept[step["state"]] = after
            else:
                getattr(self, step["do"])(step)
        self.states |= kept
        return {out["name"]: self.picture(out) for out in self.plan["outputs"]}

    def picture(self, out: dict) -> np.ndarray:
        """An output; pictures that stayed planes in [0, 1] are rounded now."""
        made = self.values[out["value"]][0]
        if out["dtype"] == "uint8" and made.dtype != np.uint8:
            made = np.rint(np.clip(made, 0, 1) * np.float32(255)).astype(np.uint8).transpose(1, 2, 0)
        return made

    def tile(self, step: dict) -> None:
        grid = self.grids[step["regions"]]
        for source, made in zip(step["inputs"], step["outputs"], strict=True):
            whole = self.values[source][0]
            if whole.ndim == 1:  # such as a time: every tile's as it is
                self.values[made] = np.repeat(whole[None], len(grid.tiles), 0)
            elif whole.dtype == np.uint8:
                self.values[made] = np.stack([grid.cut(whole, at) for at, _ in grid.tiles])
            else:
                planes = whole.transpose(1, 2, 0)
                self.values[made] = np.stack(
                    [grid.cut(planes, at).transpose(2, 0, 1) for at, _ in grid.tiles]
                )

    def decide(self, step: dict) -> None:
        for decision in step["decisions"]:
            name, values, rule = decision["variable"], decision["values"], decision["rule"]
            scores = self.values[decision["scores"]] if decision["scores"] else None
            if rule["kind"] in ("key-frame-interval", "drift-above"):
                chosen = np.array([self.key_frame(name, rule, scores)])
            else:
                if decision["over_patch"]:
                    scores = self.grids[step["regions"]].over_patches(scores[0], decision["over_patch"])
                chosen = choose(rule, scores.reshape(len(scores), -1), values, decision["meaning"])
            self.routes[name] = np.array(values, object)[chosen]

    def key_frame(self, name: str, rule: dict, measure: np.ndarray | None) -> int:
        """0 for a key frame, which begins a stream, 1 for others."""
        since = self.since.get(name)
        longest = rule.get("interval", rule.get("longest"))
        drifts = rule["kind"] == "drift-above" and not measure.item() <= rule["threshold"]
        key = since is None or since + 1 >= longest or drifts
        self.since[name] = 0 if key else since + 1
        return 0 if key else 1

    def holds(self, when: object) -> np.ndarray:
        """For which regions a condition holds."""
        if when is True:
            return np.array([True])
        if "variable" in when:
            return np.array([value in when["in"] for value in self.routes[when["variable"]]])
        if "not" in when:
            return ~self.holds(when["not"])
        key = "all" if "all" in when else "any"
        terms = np.broadcast_arrays(*(self.holds(term) for term in when[key]))
        return np.all(terms, 0) if key == "all" else np.any(terms, 0)

    def run(self, step: dict) -> None:
        count = len(self.grids[step["regions"]].tiles) if step["regions"] in self.grids else 1
        others = {value: self.values[other] if other else None for value, other in step["otherwise"].items()}
        made = {value: None if other is None else other.copy() for value, other in others.items()}
        for file in step["files"]:
            rows = np.flatnonzero(np.broadcast_to(self.holds(file["when"]), count))
            if not len(rows):
                continue
            fed = {port["tensor"]: self.values[port["value"]][rows] for port in file["inputs"]}
            outputs = self.engine(file["file"]).run([port["tensor"] for port in file["outputs"]], fed)
            found = {port["value"]: array for port, array in zip(file["outputs"], outputs, strict=True)}
            found |= {value: self.values[source][rows] for value, source in file["unchanged"].items()}
            for value, array in found.items():
                if made[value] is None:
                    made[value] = np.zeros((count, *array.shape[1:]), array.dtype)
                made[value][rows] = array
        self.values |= made

    def sample(self, step: dict) -> None:
        raise SystemExit(f"{step['variable']}: frames of a clip are not taken here: see docs/onnx.md")

    def engine(self, file: str) -> onnxruntime.InferenceSession:
        if file not in self.engines:
            providers = ["CPUExecutionProvider"]
            self.engines[file] = onnxruntime.InferenceSession(self.folder / file, providers=providers)
        return self.engines[file]

    def stitch(self, step: dict) -> None:
        if step["blend"]:
            raise SystemExit("tiles that fade into each other are not read here: see docs/onnx.md")
        grid, tiles = self.grids[step["regions"]], self.values[step["input"]]
        planes = tiles.dtype != np.uint8
        tiles = tiles.transpose(0, 2, 3, 1) if planes else tiles
        scale = tiles.shape[1] // grid.side
        frame = np.empty((scale * grid.height, scale * grid.width, tiles.shape[-1]), tiles.dtype)
        for ((top, left), patch), tile in zip(grid.tiles, tiles, strict=True):
            first, start, last, end = (scale * edge for edge in patch)
            frame[first:last, start:end] = tile[
                first - scale * top : last - scale * top, start - scale * left : end - scale * left
            ]
        self.values[step["output"]] = (frame.transpose(2, 0, 1) if planes else frame)[None]


def choose(rule: dict, scores: np.ndarray, values: list, meaning: str) -> np.ndarray:
    """Which of the values every region takes, (regions,), by a rule on its scores, (regions, n)."""
    kind = rule["kind"]
    if kind == "argmax":
        return scores.argmax(1)
    if kind == "priced":
        return (scores.astype(np.float64) - rule["price"] * np.array(rule["costs"])).argmax(1)
    if kind == "table":
        return np.searchsorted(np.array(rule["bounds"], np.float32), scores[:, 0], side="right")
    if kind == "first-non-zero":
        return np.where((scores != 0).any(1), (scores != 0).argmax(1), len(values) - 1)
    if kind == "confidence-below":
        shares = np.exp(scores - scores.max(1, keepdims=True))
        return np.where(
            shares.max(1) / shares.sum(1) < rule["threshold"], values.index(True), values.index(False)
        )
    if kind == "spread":
        costs, price = np.array(rule["costs"]), rule["price"]
        parts = scores.astype(np.float64).reshape(len(scores), len(costs) + 1, -1)
        paid = parts[:, :-1] - price * costs[:, None]
        apart = np.where(costs[paid.argmax(1)].mean(1) > 1, -np.inf, paid.max(1).mean(1))
        return np.stack([apart, parts[:, -1].mean(1) - price], 1).argmax(1)
    raise SystemExit(f"{kind} is a rule that is not read here: {meaning}")


class Grid:
    """Where tiles lie: ((top, left), (patch top, left, bottom, right)) of each, row by row."""

    def __init__(self, size: tuple[int, int], step: dict) -> None:
        self.height, self.width = (side // step["smaller"] for side in size)
        self.side = step["size"]
        self.rows, self.columns = (self.cover(n, step) for n in (self.height, self.width))
        self.tiles = [((y[0], x[0]), (y[1], x[1], y[2], x[2])) for y in self.rows for x in self.columns]

    @staticmethod
    def cover(length: int, step: dict) -> list[tuple[int, int, int]]:
        """(tile start, patch start, patch end) along one side."""
        size, halo, multiple = step["size"], step["halo"], step["multiple"]
        if length <= size:
            return [(0, 0, length)]
        if multiple > 1:
            steps = ceil((length - size) / multiple)
            count = 1 + ceil(steps / ((size - 2 * halo) // multiple))
            starts = [multiple * (i * steps // (count - 1)) for i in range(count)]
            seams = [(start + size + after) // 2 for start, after in pairwise(starts)]
            return list(zip(starts, [0, *seams], [*seams, length], strict=True))
        inner = length - 2 * halo
        count = ceil(inner / (size - 2 * halo))
        bounds = [0, *(halo + i * inner // count for i in range(1, count)), length]
        middles = [(first + last - size) // 2 for first, last in pairwise(bounds)]
        starts = [max(0, min(middle, length - size)) for middle in middles]
        return list(zip(starts, bounds[:-1], bounds[1:], strict=True))

    def cut(self, frame: np.ndarray, at: tuple[int, int]) -> np.ndarray:
        """A tile; beyond the frame its last row and column are repeated."""
        tile = frame[at[0] : at[0] + self.side, at[1] : at[1] + self.side]
        missing = ((0, self.side - tile.shape[0]), (0, self.side - tile.shape[1]), (0, 0))
        return np.pad(tile, missing, mode="edge")

    def over_patches(self, scores: np.ndarray, how: str) -> np.ndarray:
        """A map that lies over the frame, its mean or largest over each patch: (values, h, w) -> (tiles, values)."""
        if how == "max":  # the largest of the cells that a patch touches
            down, across = scores.shape[1:]
            return np.stack(
                [
                    scores[
                        :,
                        top * down // self.height : -(-bottom * down // self.height),
                        left * across // self.width : -(-right * across // self.width),
                    ].max((1, 2))
                    for _, (top, left, bottom, right) in self.tiles
                ]
            )
        rows = self.shares([(a, b) for _, a, b in self.rows], self.height, scores.shape[1])
        columns = self.shares([(a, b) for _, a, b in self.columns], self.width, scores.shape[2])
        return (rows @ scores @ columns.T).reshape(len(scores), -1).T

    @staticmethod
    def shares(spans: list[tuple[int, int]], length: int, cells: int) -> np.ndarray:
        """How much of a patch each cell covers, along one side."""
        edges = np.arange(cells + 1) * (length / cells)
        covered = [
            np.clip(np.minimum(edges[1:], last) - np.maximum(edges[:-1], first), 0, None)
            for first, last in spans
        ]
        return (np.array(covered) / np.sum(covered, 1, keepdims=True)).astype(np.float32)


def main(folder: Path, inputs: Path, outputs: Path) -> None:
    calls = dict(np.load(inputs))
    size = next(array.shape[1:3] for array in calls.values() if array.dtype == np.uint8)
    runner = Runner(folder, size)
    count = len(next(iter(calls.values())))
    made = [runner({name: array[call] for name, array in calls.items()}) for call in range(count)]
    np.savez(outputs, **{name: np.stack([each[name] for each in made]) for name in made[0]})


if __name__ == "__main__":
    about = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    about.add_argument("folder", type=Path, help="what `edgeflow export --format onnx` wrote")
    about.add_argument("inputs", type=Path, help="INPUTS.npz")
    about.add_argument("outputs", type=Path, help="OUTPUTS.npz")
    main(**vars(about.parse_args()))
