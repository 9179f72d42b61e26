"""Size of a bundle with all 15 routes against its unique weights, and how long the export took.

python benchmarks/bundle_size.py --preset small
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter

import typer
from records import record, save
from subject import subject

from edgeflow.export.compile import compile_model
from edgeflow.ir.bundle import WEIGHTS
from edgeflow.targets import load


def main(
    family: str = "cain-sd", preset: str = "small", limit: float = 1.05, plans: str = "chained,routes"
) -> None:
    """Measure and save results/bundle_size.json; exits with 1 if the weights take more than `limit`."""
    model, _ = subject(family, preset)
    records = []
    for plan in plans.split(","):
        with tempfile.TemporaryDirectory() as folder:
            start = perf_counter()
            made = compile_model(model, load("cpu"), Path(folder) / "x.edgeflow", reference={}, strategy=plan)
            seconds = perf_counter() - start
        files = made.manifest.files
        stored = files[WEIGHTS].bytes
        graphs = sum(files[g.file].bytes for g in made.manifest.graphs.values())
        golden = sum(entry.bytes for name, entry in files.items() if name.startswith("golden/"))
        records.append(
            record(
                family=family,
                preset=preset,
                backend="any",
                precision="fp32",
                plan=plan,
                graphs=len(made.manifest.graphs),
                unique_weight_bytes=made.unique_weight_bytes,
                weight_file_bytes=stored,
                weight_ratio=stored / made.unique_weight_bytes,
                graph_bytes=graphs,
                golden_bytes=golden,
                export_seconds=seconds,
                seconds_by_part=made.manifest.provenance["seconds"],
            )
        )
        print(
            f"{preset} {plan}: {len(made.manifest.graphs)} graphs, weights {stored / 1e6:.2f} MB = "
            f"{stored / made.unique_weight_bytes:.3f} x unique, graphs {graphs / 1e6:.2f} MB, "
            f"goldens {golden / 1e6:.2f} MB, {seconds:.0f} s: {made.manifest.provenance['seconds']}"
        )
    save("bundle_size", records, ("family", "preset", "plan"))
    raise SystemExit(any(r["weight_ratio"] > limit for r in records))


if __name__ == "__main__":
    typer.run(main)
