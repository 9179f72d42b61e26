"""Writes docs/benchmarks.md from the committed results.

python benchmarks/tables.py
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from records import RESULTS

Record = dict[str, Any]
Column = tuple[str, Callable[[Record], str]]
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"

HEAD = """# Benchmarks

Made by `python benchmarks/tables.py` from `benchmarks/results/*.json`; each section names the command
that measured it. Times are wall clock. Nothing here ran on TensorRT or on a GPU.

"""

SECTIONS: list[tuple[str, str, str, list[Column]]] = [
    (
        "realisation",
        "Realisation: how much of the FLOP saving becomes a time saving",
        "`python benchmarks/realisation.py --clip CLIP`. realisation = (full ms / routed ms) / (full FLOPs / "
        "routed FLOPs); full is the static model in its faster form; routed is the whole call. One process, "
        "in turn, frame by frame, medians. Overhead is the call over the sum of its engines.",
        [
            ("model", lambda r: f"{r['family']} {r['preset']}"),
            ("clip", lambda r: f"{r['clip']} {r['size']}"),
            ("library", lambda r: r["backend"]),
            ("plan", lambda r: r["plan"]),
            ("full ms", lambda r: f"{r['full_ms']:.0f} ({r['full_form']})"),
            ("routed ms", lambda r: f"{r['routed_ms']:.0f}"),
            ("eager ms", lambda r: f"{r['eager_ms']:.0f}"),
            ("GFLOP full / routed", lambda r: f"{r['flops_full'] / 1e9:.1f} / {r['flops_routed'] / 1e9:.1f}"),
            ("FLOPs saved", lambda r: f"{r['flops_saved']:.2f}x"),
            ("time saved", lambda r: f"{r['speedup']:.2f}x"),
            ("realisation", lambda r: f"**{r['realisation']:.2f}**"),
            ("overhead", lambda r: f"{r['dispatch_overhead']:.3f}"),
        ],
    ),
    (
        "parity",
        "Parity: engines and whole frames against the eager model",
        "`python benchmarks/parity.py --clip CLIP`. Largest error of an image before rounding, on [0, 1]; lowest "
        "PSNR of a frame; decisions that differ.",
        [
            ("model", lambda r: f"{r['family']} {r['preset']}"),
            ("library", lambda r: r["backend"]),
            ("plan", lambda r: r["plan"]),
            ("engines", lambda r: str(r["engines"])),
            ("image error", lambda r: f"{r['image_max_error']:.1e}"),
            ("frames", lambda r: str(r["frames"])),
            ("PSNR", lambda r: f"{r['psnr_db']:.1f} dB"),
            ("route flips", lambda r: f"{r['route_flips']} of {r['decisions']}"),
        ],
    ),
    (
        "bundle_size",
        "Bundle size and export time",
        "`python benchmarks/bundle_size.py --preset PRESET`. All 15 routes, landscape and portrait frames.",
        [
            ("model", lambda r: f"{r['family']} {r['preset']}"),
            ("plan", lambda r: r["plan"]),
            ("graphs", lambda r: str(r["graphs"])),
            ("unique weights", lambda r: f"{r['unique_weight_bytes'] / 1e6:.2f} MB"),
            ("weight file", lambda r: f"{r['weight_file_bytes'] / 1e6:.2f} MB ({r['weight_ratio']:.3f}x)"),
            ("graph files", lambda r: f"{r['graph_bytes'] / 1e6:.2f} MB"),
            ("goldens", lambda r: f"{r['golden_bytes'] / 1e6:.2f} MB"),
            ("export", lambda r: f"{r['export_seconds']:.0f} s"),
        ],
    ),
    (
        "cold_start",
        "Cold start",
        "`python benchmarks/cold_start.py BUNDLE`. Fresh processes, medians of 5; engines for 1280x720.",
        [
            ("bundle", lambda r: r["bundle"]),
            ("library", lambda r: r["backend"]),
            ("import beyond numpy", lambda r: f"{r['import_ms']:.0f} ms"),
            ("torch loaded", lambda r: "yes" if r["torch_loaded"] else "no"),
            ("open and verify", lambda r: f"{r['open_ms']:.0f} ms"),
            ("load engines", lambda r: f"{r['load_engines_ms']:.0f} ms"),
            ("first frame", lambda r: f"{r['first_frame_ms']:.0f} ms"),
        ],
    ),
]


def main() -> None:
    parts = [HEAD]
    for name, title, how, columns in SECTIONS:
        path = RESULTS / f"{name}.json"
        if not path.exists():
            continue
        records = json.loads(path.read_text())
        parts.append(f"## {title}\n\n{how}\n\n{_table(records, columns)}\n{_machines(records)}\n")
    PAGE.write_text("\n".join(parts).rstrip() + "\n")


def _table(records: Sequence[Record], columns: Sequence[Column]) -> str:
    lines = ["| " + " | ".join(name for name, _ in columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(read(record) for _, read in columns) + " |" for record in records]
    return "\n".join(lines) + "\n"


def _machines(records: Sequence[Record]) -> str:
    found = {
        f"{r['machine']['cpu']}, {r['machine']['threads']} threads; "
        + ", ".join(f"{k} {v}" for k, v in r["versions"].items() if k in ("onnxruntime", "openvino", "torch"))
        + f"; {r['date']}"
        for r in records
    }
    return "Measured on: " + "; ".join(sorted(found)) + ".\n"


if __name__ == "__main__":
    main()
