"""Native kernels: their threads, their product, and inputs that no network should make."""

import gc
import threading
from collections import Counter
from threading import Lock
from time import sleep

import numpy as np
import pytest

from edgeflow.runtime.kernels.team import team


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("turns", [0, 1, 50])
def test_every_turn_is_taken_once(threads, turns):
    taken, lock = Counter(), Lock()

    def work(turn, thread):
        assert 0 <= thread < threads
        with lock:
            taken[turn] += 1

    team(threads).each(turns, work)
    assert taken == Counter(range(turns))


def test_what_a_turn_raises_is_raised():
    def work(turn, thread):
        if turn == 7:
            raise ArithmeticError("seven")

    for _ in range(5):
        with pytest.raises(ArithmeticError, match="seven"):
            team(2).each(20, work)


def test_threads_end_with_the_team():
    def alive():
        return [thread for thread in threading.enumerate() if thread.name.startswith("native-kernel")]

    gc.collect()
    before = set(alive())
    own = team(5)
    assert team(5) is own
    own.each(20, lambda turn, thread: sleep(0.001))
    started = set(alive()) - before
    assert started
    del own
    for thread in started:
        thread.join(5)
    assert not started & set(alive())


@pytest.mark.parametrize(("rows", "k", "columns"), [(6, 1, 1), (12, 77, 64), (48, 9, 130)])
def test_the_product(rows, k, columns, random):
    product = pytest.importorskip("edgeflow.runtime.kernels.product")
    left, right = (random.random(shape).astype(np.float32) for shape in ((rows, k), (k, columns)))
    packed = product.packed(right)
    made = np.full((rows, packed.shape[0] * product.COLUMNS), np.nan, np.float32)
    product.multiply(left, packed, made)
    np.testing.assert_allclose(made[:, :columns], left @ right, rtol=1e-5)


def test_offsets_that_are_no_numbers_read_nothing(random):
    adabd = pytest.importorskip("edgeflow.runtime.kernels.adabd")
    weight = random.random((4, 3, 3, 3)).astype(np.float32)
    engine = adabd.AdaBDEngine({"weight": weight}, 2)
    maps = random.random((2, 1, 3, 5, 6)).astype(np.float32)
    mask = random.random((1, 9, 5, 6)).astype(np.float32)
    made = []
    for value in (np.nan, np.inf, -np.inf, 1e30):
        offset = np.full((1, 18, 5, 6), value, np.float32)
        made.append(np.full((1, 4, 5, 6), np.nan, np.float32))
        engine.run([*maps, offset, mask], [made[-1]])
    assert np.isfinite(made).all()
    assert all(np.array_equal(made[0], other) for other in made)
