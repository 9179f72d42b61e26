import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeflow.ir.errors import BundleError
from edgeflow.runtime.backends.memory import HostMemory
from edgeflow.runtime.stream.batching import cover
from edgeflow.runtime.stream.rows import Rows

COUNT = 7
regions_of = st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=COUNT, unique=True)


@given(st.lists(regions_of, max_size=4), regions_of, st.integers(0, 3))
def test_rows_are_a_list_of_what_was_put_last(puts, wanted, padding):
    """Against a plain list: put overwrites rows, take reads them in order and repeats the last."""
    number = 100.0
    base = np.arange(COUNT * 2, dtype=np.float32).reshape(COUNT, 2)
    rows, model = Rows.of(base), [row.copy() for row in base]
    for regions in puts:
        array = np.arange(number, number + 2 * len(regions), dtype=np.float32).reshape(-1, 2)
        number += 100
        rows.put(np.array(regions), array)
        for region, row in zip(regions, array, strict=True):
            model[region] = row
    expected = [model[region] for region in wanted] + [model[wanted[-1]]] * padding
    taken = rows.take(
        np.array(wanted), HostMemory(), lambda n: np.empty((n, 2), np.float32), len(wanted) + padding
    )
    np.testing.assert_array_equal(taken, expected)
    for region in range(COUNT):
        np.testing.assert_array_equal(rows.row(region), model[region])


def test_rows_that_lie_together_are_not_copied():
    array = np.arange(12, dtype=np.float32).reshape(6, 2)

    def no_scratch(rows):
        raise AssertionError("copied")

    taken = Rows.of(array).take(np.arange(2, 5), HostMemory(), no_scratch)
    assert np.shares_memory(taken, array) and taken.tolist() == array[2:5].tolist()


def test_a_copy_is_changed_alone():
    rows = Rows.of(np.zeros((3, 1), np.float32))
    copy = rows.copy()
    copy.put(np.array([1]), np.ones((1, 1), np.float32))
    assert [float(rows.row(i)[0]) for i in range(3)] == [0, 0, 0]
    assert [float(copy.row(i)[0]) for i in range(3)] == [0, 1, 0]


def brute_force(count, cost):
    """Least cost of any multiset of batches that holds `count` regions."""
    best = {0: 0.0}
    for held in range(1, count + 1):
        best[held] = min(price + best[max(held - size, 0)] for size, price in cost.items())
    return best[count]


costs = st.dictionaries(st.sampled_from([1, 2, 3, 4, 8]), st.integers(1, 40).map(float), min_size=1).map(
    lambda found: {1: 7.0, **found}
)


@given(st.integers(1, 20), costs)
def test_cover_holds_every_region_at_least_cost(count, cost):
    batches = cover(count, cost)
    assert sum(batches) >= count and list(batches) == sorted(batches, reverse=True)
    assert sum(cost[size] for size in batches) == brute_force(count, cost)
    assert sum(batches[:-1]) < count, "a batch that runs for nothing"


@given(st.integers(1, 9), costs)
def test_nothing_smaller_is_cheaper(count, cost):
    from itertools import combinations_with_replacement

    options = [
        c for k in range(1, count + 1) for c in combinations_with_replacement(cost, k) if sum(c) >= count
    ]
    assert sum(cost[size] for size in cover(count, cost)) == min(sum(cost[s] for s in c) for c in options)


@pytest.mark.parametrize(("count", "batches"), [(7, (4, 2, 1)), (3, (2, 1)), (1, (1,)), (8, (4, 4))])
def test_cover_by_hand(count, batches):
    assert cover(count, {1: 1.2, 2: 2.1, 4: 4.0}) == batches


def test_padding_where_it_is_cheaper():
    assert cover(3, {1: 1.0, 4: 1.1}) == (4,)


def test_what_nothing_made_is_not_read():
    rows = Rows(3)
    rows.put(np.array([0, 2]), np.ones((2, 4), np.float32))
    assert not rows.made and rows.row(2).shape == (4,)
    with pytest.raises(BundleError, match="no engine makes"):
        rows.row(1)
    with pytest.raises(BundleError, match="no engine makes"):
        rows.take(np.array([0, 1]), HostMemory(), lambda count: np.empty((count, 4), np.float32))
