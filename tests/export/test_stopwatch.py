from time import perf_counter, sleep

import pytest

from edgeflow.export.stopwatch import Stopwatch


@pytest.mark.timed
def test_parts_add_up_and_inner_ones_are_not_counted_twice():
    watch = Stopwatch()
    start = perf_counter()
    with watch.part("outer"):
        sleep(0.02)
        for _ in range(2):
            with watch.part("inner"):
                sleep(0.03)
        with pytest.raises(ValueError), watch.part("fails"):
            raise ValueError
    whole = perf_counter() - start
    sleep(0.05)  # between parts nothing is counted
    with watch.part("inner"):
        pass
    assert list(watch.seconds) == ["outer", "inner", "fails"]
    assert watch.seconds["inner"] >= 0.06 and watch.seconds["outer"] >= 0.02
    assert sum(watch.seconds.values()) == pytest.approx(whole, abs=0.01)
