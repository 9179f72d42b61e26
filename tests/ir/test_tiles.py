import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeflow.ir.errors import FlowError
from edgeflow.ir.tiles import TileGrid, pool_map


@st.composite
def grids(draw):
    multiple = draw(st.sampled_from((1, 2, 3, 4, 8)))
    size = multiple * draw(st.integers(-(-3 // multiple), 48 // multiple))
    halo = draw(st.integers(0, (size - multiple) // 2))
    longest = 12 * (size - 2 * halo)  # a dozen tiles a side
    return TileGrid(draw(st.integers(1, longest)), draw(st.integers(1, longest)), size, halo, multiple)


@given(grids())
def test_patches_cover_the_frame_exactly_once(grid):
    hits = np.zeros((grid.height, grid.width), int)
    for patch in grid.regions:
        hits[patch.top : patch.bottom, patch.left : patch.right] += 1
    assert (hits == 1).all()
    assert len(grid) == len(grid.regions) == len(grid.origins) == grid.rows * grid.columns


@given(grids())
def test_every_seam_has_a_halo_on_both_sides_and_tiles_lie_inside_the_frame(grid):
    for (top, left), patch in zip(grid.origins, grid.regions, strict=True):
        sides = (
            (top, patch.top, patch.bottom, grid.height),
            (left, patch.left, patch.right, grid.width),
        )
        for start, first, last, length in sides:
            whole = -(-length // grid.multiple) * grid.multiple  # the frame, with what completes its grid
            assert start >= 0 and (start + grid.size <= whole or (start == 0 and length < grid.size))
            assert start % grid.multiple == 0
            assert first - start >= (grid.halo if first > 0 else 0)
            assert start + grid.size - last >= (grid.halo if last < length else 0)


@given(grids())
def test_no_fewer_tiles_would_do(grid):
    """Each tile of a side answers for at most its size less the halos at its seams."""
    for count, length in ((grid.rows, grid.height), (grid.columns, grid.width)):
        if count > 1:
            fewer = count - 1
            step = (grid.size - 2 * grid.halo) // grid.multiple * grid.multiple
            room = grid.size + (fewer - 1) * step
            assert room < length


@given(grids(), st.integers(0, 9))
def test_cut_and_paste_is_identity_in_any_order(grid, seed):
    random = np.random.default_rng(seed)
    frame = random.integers(0, 256, (grid.height, grid.width, 3), dtype=np.uint8)
    order = random.permutation(len(grid))
    tiles = np.empty((len(grid), grid.size, grid.size, 3), np.uint8)
    grid.cut(frame, order, tiles)
    copy = np.zeros_like(frame)
    for position, number in enumerate(order.tolist()):
        grid.paste(tiles[position], number, copy)
    np.testing.assert_array_equal(copy, frame)


def test_a_frame_smaller_than_a_tile_repeats_its_last_row_and_column():
    frame = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    tile = np.empty((1, 5, 5, 3), np.uint8)
    grid = TileGrid(2, 3, 5, 1)
    grid.cut(frame, np.array([0]), tile)
    assert len(grid) == 1
    np.testing.assert_array_equal(tile[0], np.pad(frame, ((0, 3), (0, 2), (0, 0)), mode="edge"))


@given(grids(), st.integers(1, 12), st.integers(1, 12))
def test_pooling_averages_and_keeps_a_constant(grid, height, width):
    rows, columns = grid.pooling(height, width)
    assert rows.shape == (grid.rows, height) and columns.shape == (width, grid.columns)
    np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(columns.sum(0), 1, rtol=1e-5)
    assert (rows >= 0).all() and (columns >= 0).all()


def test_pooling_a_map_of_the_frames_own_size_is_the_mean_of_each_patch(random):
    grid = TileGrid(50, 70, 32, 4)
    scores = random.random((2, 50, 70), dtype=np.float32)
    wanted = [scores[:, p.top : p.bottom, p.left : p.right].mean((1, 2)) for p in grid.regions]
    np.testing.assert_allclose(pool_map(scores, grid), wanted, rtol=1e-5)


@pytest.mark.parametrize("numbers", [(0, 5, 4, 1), (5, 0, 4, 1), (5, 5, 0, 0), (5, 5, 4, 2), (5, 5, 4, -1)])
def test_impossible_tilings(numbers):
    with pytest.raises(
        FlowError, match=r"cannot tile .*: sizes are positive and the tile is larger than two halos"
    ):
        TileGrid(*numbers)


@pytest.mark.parametrize(("size", "halo", "multiple"), [(30, 2, 4), (32, 13, 8), (32, 2, 0)])
def test_tiles_that_cannot_begin_on_a_grid(size, halo, multiple):
    with pytest.raises(
        FlowError, match=f"cannot begin at multiples of {multiple}: that divides the tile's size"
    ):
        TileGrid(100, 100, size, halo, multiple)


def test_a_last_tile_reaches_beyond_a_frame_that_is_off_the_grid():
    grid = TileGrid(8, 21, 8, 1, 4)
    assert grid.origins == ((0, 0), (0, 4), (0, 8), (0, 12), (0, 16))
    frame = np.arange(8 * 21 * 3, dtype=np.uint32).reshape(8, 21, 3).astype(np.uint8)
    tiles = np.empty((len(grid), 8, 8, 3), np.uint8)
    grid.cut(frame, np.arange(len(grid)), tiles)
    np.testing.assert_array_equal(tiles[-1][:, 5:], np.repeat(frame[:, 20:21], 3, 1))


@given(grids(), st.integers(1, 4))
def test_enlarged_tiles_are_pasted_into_an_enlarged_frame(grid, scale):
    frame = np.random.default_rng(0).integers(0, 256, (grid.height, grid.width, 3), dtype=np.uint8)
    tiles = np.empty((len(grid), grid.size, grid.size, 3), np.uint8)
    grid.cut(frame, np.arange(len(grid)), tiles)
    wanted = frame.repeat(scale, 0).repeat(scale, 1)
    made = np.zeros_like(wanted)
    for number, tile in enumerate(tiles):
        grid.paste(tile.repeat(scale, 0).repeat(scale, 1), number, made)
    np.testing.assert_array_equal(made, wanted)


def test_known_grids():
    assert len(TileGrid(720, 1280, 256, 8, 8)) == 18
    assert len(TileGrid(720, 1280, 256, 8, 32)) == 24
    assert (TileGrid(720, 1280, 256, 8).rows, TileGrid(720, 1280, 256, 8).columns) == (3, 6)
    assert len(TileGrid(256, 256, 256, 8)) == 1
    assert len(TileGrid(257, 256, 256, 8)) == 2
