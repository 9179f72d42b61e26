from dataclasses import dataclass, field
from threading import Barrier, Lock
from typing import Any

import pytest

from edgeflow.ir.errors import BackendError
from edgeflow.runtime import open_bundle
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.stream.loading import load_graphs

SIZE = (200, 310)


@dataclass
class Watched:
    """A backend that says how many loads ran at a time, and lets the first wait for one another."""

    backend: Any
    loads_at_once: int
    meeting: Barrier | None = None
    most: int = 0
    _now: int = 0
    _begun: int = 0
    _lock: Lock = field(default_factory=Lock)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def load(self, *arguments: Any) -> Any:
        with self._lock:
            self._now += 1
            self._begun += 1
            begun = self._begun
            self.most = max(self.most, self._now)
        if self.meeting and begun <= self.meeting.parties:
            self.meeting.wait(30)
        engine = self.backend.load(*arguments)
        with self._lock:
            self._now -= 1
        return engine


def load(bundle, backend, progress=None):
    opened = open_bundle(bundle)
    return load_graphs(opened, opened.manifest.plans["landscape"], backend, SIZE, progress=progress)


@pytest.mark.slow
@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
def test_two_engines_are_loaded_at_a_time(tiny_bundles, library):
    backend = Watched(open_backend(library), 2, Barrier(2))
    told = []
    loaded = load(tiny_bundles["routes"].path, backend, lambda done, total: told.append((done, total)))
    assert backend.most == 2
    count = len({id(graph.engine) for graph in loaded.values()})
    assert told == [(done, count) for done in range(1, count + 1)]


def test_a_library_that_loads_one_at_a_time_is_never_asked_for_two(tiny_bundles):
    backend = Watched(open_backend("onnxruntime"), 1)
    assert load(tiny_bundles["routes"].path, backend) and backend.most == 1


def test_a_graph_that_is_refused_ends_the_loading(tiny_bundles):
    class Refusing(Watched):
        def load(self, *arguments: Any) -> Any:
            raise BackendError("refused")

    with pytest.raises(BackendError, match="refused"):
        load(tiny_bundles["chained"].path, Refusing(open_backend("onnxruntime"), 2))
