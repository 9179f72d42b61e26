"""Engines are timed as frames run them."""

from itertools import pairwise
from time import perf_counter

import pytest

from edgeflow.ir.plan import Port
from edgeflow.runtime.backends.memory import HostMemory
from edgeflow.runtime.device import RUNS, measure, timed

PORTS = [Port("x", "x", (3, 4), "float32")], [Port("y", "y", (5,), "float32")]


class Preparing:
    """An engine that takes 2 ms longer whenever the batch is not that of its last run."""

    def __init__(self):
        self.seen = []

    def run(self, inputs, outputs):
        (x,), (y,) = inputs, outputs
        assert x.shape == (len(y), 3, 4) and y.shape == (len(x), 5)
        end = perf_counter() + (0.002 if self.seen and len(self.seen[-1]) != len(x) else 0.0)
        while perf_counter() < end:
            pass
        self.seen.append(x)


@pytest.mark.timed
def test_a_library_that_prepares_for_every_shape_is_charged_for_it():
    alone, in_turn = (measure(Preparing(), HostMemory(), *PORTS, sizes) for sizes in ([2], [1, 2, 4]))
    assert alone[2] < 1.0 and all(ms >= 2.0 for ms in in_turn.values())


@pytest.mark.parametrize("batches", [[1], [1, 2, 8], [3]])
def test_every_run_has_other_rows_than_the_last_of_its_size(batches):
    engine = Preparing()
    times = timed(engine, HostMemory(), *PORTS, batches)
    assert all(len(times[batch]) == RUNS for batch in batches)
    for batch in batches:
        places = [x.ctypes.data for x in engine.seen if len(x) == batch]
        assert len(places) == RUNS + 1 and all(a != b for a, b in pairwise(places))
