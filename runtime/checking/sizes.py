"""Graphs that read frames of any size, against the model's own code at sizes of unlike shape.

What an exporter froze of a size shows at another one only: square, odd, very wide or tall, small, large.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from edgeflow.ir.arrays import read_arrays
from edgeflow.ir.bundle import Bundle
from edgeflow.ir.bundle.golden import sizes_file
from edgeflow.ir.errors import BundleError, NotBuiltError
from edgeflow.ir.plan import Plan
from edgeflow.runtime.backends import Backend
from edgeflow.runtime.checking.engines import GraphCheck, check_engine
from edgeflow.runtime.stream.loading import dims_of, load_graphs
from edgeflow.runtime.stream.rows import Array

Size = tuple[int, int]


def check_sizes(bundle: Bundle, kind: str, backend: Backend) -> Iterator[GraphCheck]:
    """Compare the graphs of free frame sizes of a kind of frames at every size that the bundle holds golden vectors for.

    Sizes that no engine was built for are left out.

    Raises:
        BackendError: the library refuses a graph at a size, or cannot run it.
    """
    plan = bundle.manifest.plans[kind]
    files = {g.key: sizes_file(g.golden, kind) for stage in plan.stages for g in stage.graphs}
    goldens = {key: _by_size(bundle, file) for key, file in files.items() if file in bundle.manifest.files}
    for size in sorted({size for found in goldens.values() for size in found}):
        try:
            loaded = load_graphs(bundle, _only(plan, set(goldens)), backend, size, exact=True)
        except NotBuiltError:
            continue
        for key, graph in loaded.items():
            if size not in goldens[key]:
                continue
            found = check_engine(bundle, graph, backend.memory, dims_of(size), goldens[key][size])
            yield replace(found, graph=f"{key} of {size[1]}x{size[0]}")


def _by_size(bundle: Bundle, file: str) -> dict[Size, dict[str, Array]]:
    """A graph's golden vectors by (height, width) of the frame."""
    found: dict[Size, dict[str, Array]] = {}
    for name, stored in read_arrays(bundle.path / file).items():
        size, _, array = name.partition("/")
        sides = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size)
        if sides is None:
            raise BundleError(f"bundle {bundle.path}: {file}: {name!r} is of no size: export it again")
        found.setdefault((int(sides[1]), int(sides[2])), {})[array] = stored
    return found


def _only(plan: Plan, keys: set[str]) -> Plan:
    """The plan with nothing but these graphs."""
    stages = (replace(s, graphs=tuple(g for g in s.graphs if g.key in keys)) for s in plan.stages)
    return replace(plan, steps=tuple(stage for stage in stages if stage.graphs), chains=())
