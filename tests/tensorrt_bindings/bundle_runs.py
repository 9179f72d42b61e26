"""What is done to one bundle over the doubles, in a process of its own: python bundle_runs.py WHAT[,WHAT] BUNDLE [BUNDLE].

Prints what went wrong, one a line, and ends with 1 then.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgeflow.export.plugins.bodies import runnable
from edgeflow.export.sample import moving_picture
from edgeflow.ir.bundle import Bundle, open_bundle
from edgeflow.runtime import Session
from edgeflow.runtime.backends import onnxruntime_backend
from edgeflow.runtime.backends.onnxruntime_backend import guest_options
from edgeflow.runtime.stream.policy import Own
from edgeflow.targets.cudart import Cudart

SIZE = (192, 320)
"""(height, width) of the frames."""
FRAMES = 8


class Random(Own):
    """Routes that change for a share of the regions with every frame."""

    def __init__(self, share: float, seed: int = 0) -> None:
        self._random, self._share = np.random.default_rng(seed), share
        self._last: dict[str, NDArray[np.intp]] = {}

    def choose(self, variable: Any, own: NDArray[np.intp]) -> NDArray[np.intp]:
        """See `Policy.choose`."""
        count = len(variable.axis.values)
        last = self._last.setdefault(variable.name, self._random.integers(0, count, len(own)))
        changed = self._random.random(len(own)) < self._share
        last[changed] = self._random.integers(0, count, int(changed.sum()))
        return last.astype(np.intp)


def frames(bundle: Bundle) -> list[tuple[NDArray[np.uint8], ...]]:
    """Inputs of successive calls."""
    pictures = [np.ascontiguousarray(moving_picture(*SIZE, time)) for time in range(FRAMES + 1)]
    number = len(next(iter(bundle.manifest.plans.values())).inputs)
    return [tuple(pictures[i : i + number]) for i in range(FRAMES)]


def rounding_as_the_graph_says(threads: int) -> onnxruntime.SessionOptions:
    """Of ONNX Runtime, as the doubles have it: what it fuses at int8 depends on which outputs a graph has."""
    options = guest_options(threads)
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options


def same(bundle: Bundle) -> Iterator[str]:
    """Frames with random routes equal ONNX Runtime's of the same graphs, bit for bit."""
    if bundle.manifest.target["precision"] == "bf16":
        return  # no library computes these graphs on a processor as the doubles do: their goldens must do
    onnxruntime_backend.guest_options = rounding_as_the_graph_says
    calls = frames(bundle)
    for share in (0.05, 1.0):
        ours = [Session(bundle, policy=Random(share)).run(*call).outputs[0] for call in calls[:1]]
        session = Session(bundle, policy=Random(share))
        ours = [session.run(*call).outputs[0] for call in calls]
        with runnable(bundle) as plain:
            other = Session(plain, library="onnxruntime", policy=Random(share), threads=1, prove=False)
            theirs = [other.run(*call).outputs[0] for call in calls]
        worst = max(
            int(np.abs(a.astype(int) - b.astype(int)).max()) for a, b in zip(ours, theirs, strict=True)
        )
        if worst:
            yield f"frames with {share:.0%} of the routes changed differ by {worst} levels from ONNX Runtime's"


def kept(bundle: Bundle) -> Iterator[str]:
    """A session that is gone leaves nothing on the device: memory, pinned memory, streams, events, graphs."""
    live = Cudart()._library.double_live
    for _ in range(3):
        session = Session(bundle, policy=Random(0.0))
        for call in frames(bundle):
            session.run(*call)
        del session
        gc.collect()
        if left := live():
            yield f"{left} things stay on the device"


def together(first: Bundle, second: Bundle) -> Iterator[str]:
    """Two bundles in one process, with plugins or without."""
    sessions = [Session(bundle) for bundle in (first, second)]
    for session, bundle in zip(sessions, (first, second), strict=True):
        session.run(*frames(bundle)[0])
    yield from ()


if __name__ == "__main__":
    asked, *paths = sys.argv[1:]
    found = {"same": same, "kept": kept, "together": together}
    wrong = [said for what in asked.split(",") for said in found[what](*map(open_bundle, paths))]
    print("\n".join(wrong))
    sys.exit(bool(wrong))
