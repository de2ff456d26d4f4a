from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from atgnn.nn.position import Grid, cell_centers, compact_position, grid_position, pool_nodes


def embedding(row: float, column: float, dim: int) -> list[float]:
    """The published 2-D sine-cosine embedding of one place: half the channels for each axis."""
    frequencies = [1 / 10000 ** (i / (dim / 4)) for i in range(dim // 4)]
    return [f(p * w) for p in (row, column) for f in (math.sin, math.cos) for w in frequencies]


@pytest.mark.parametrize(("height", "width", "dim"), [(3, 5, 8), (1, 7, 16), (4, 4, 4)])
def test_squared_distance_is_the_published_bias(height: int, width: int, dim: int) -> None:
    e = torch.tensor([embedding(h, w, dim) for h in range(height) for w in range(width)])
    p = -2 / dim * e @ e.T
    place = grid_position(height, width, dim)
    distance = torch.cdist(place, place, compute_mode="donot_use_mm_for_euclid_dist").square()
    torch.testing.assert_close(distance, p + 1, atol=1e-6, rtol=1e-5)


def test_pooled_cells_stand_at_their_centres() -> None:
    expected = [embedding(h, w, 8) for h in (0.5, 2.0) for w in (0.5, 2.5, 4.0)]
    torch.testing.assert_close(grid_position(3, 5, 8, reduction=2), torch.tensor(expected) / 8**0.5)


@pytest.mark.parametrize(
    ("size", "reduction", "expected"),
    [(4, 1, [0, 1, 2, 3]), (4, 2, [0.5, 2.5]), (5, 2, [0.5, 2.5, 4]), (6, 4, [1.5, 4.5]), (3, 4, [1]), (1, 4, [0])],
)
def test_last_cells_hold_what_is_left(size: int, reduction: int, expected: list[float]) -> None:
    assert cell_centers(size, reduction).tolist() == expected
    line = torch.arange(float(size)).view(size, 1)
    assert pool_nodes(line, Grid(1, 1, size), reduction).flatten().tolist() == expected


@pytest.mark.parametrize(("height", "width", "reduction"), [(4, 6, 2), (5, 7, 2), (5, 3, 4), (1, 1, 4), (3, 2, 1)])
def test_pooling_nodes_averages_cells_of_the_map(height: int, width: int, reduction: int) -> None:
    x = torch.randn(2, 3, height, width)
    nodes, grid = Grid.from_map(x)
    cells = [
        x[b, :, h : h + reduction, w : w + reduction].mean((1, 2))
        for b in range(2)
        for h in range(0, height, reduction)
        for w in range(0, width, reduction)
    ]
    pooled = pool_nodes(nodes, grid, reduction)
    torch.testing.assert_close(pooled, torch.stack(cells))
    torch.testing.assert_close(pooled, Grid.from_map(F.avg_pool2d(x, reduction, ceil_mode=True))[0])


def test_nodes_are_the_map_row_by_row() -> None:
    x = torch.arange(24.0).view(1, 2, 3, 4)
    nodes, grid = Grid.from_map(x)
    assert grid == Grid(clips=1, height=3, width=4)
    assert nodes[:5].tolist() == [[0, 12], [1, 13], [2, 14], [3, 15], [4, 16]]
    assert torch.equal(grid.to_map(nodes), x)


def test_channels_last_maps_are_not_copied() -> None:
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    nodes, grid = Grid.from_map(x)
    assert nodes.data_ptr() == x.data_ptr() == grid.to_map(nodes).data_ptr()


def test_width_of_the_positions_is_checked() -> None:
    with pytest.raises(ValueError, match="expected a width that 4 divides for grid positions, got 6"):
        grid_position(2, 2, 6)


@pytest.mark.parametrize(
    ("height", "width", "dim", "reduction"), [(32, 256, 80, 4), (8, 64, 400, 1), (5, 7, 16, 2), (1, 1, 4, 1)]
)
def test_compact_positions_have_the_same_distances(height: int, width: int, dim: int, reduction: int) -> None:
    targets, sources = compact_position(height, width, dim, reduction)
    long = (grid_position(height, width, dim), grid_position(height, width, dim, reduction))
    assert [len(targets), len(sources)] == [*map(len, long)]
    assert targets.size(1) == sources.size(1) <= dim
    distance = torch.cdist(targets.double(), sources.double()).square()
    expected = torch.cdist(long[0].double(), long[1].double()).square()
    torch.testing.assert_close(distance, expected, atol=1e-6, rtol=0)
    if height * width > 100:
        assert targets.size(1) < dim / 2, "and far fewer numbers"


def test_compact_positions_need_a_width_that_4_divides() -> None:
    with pytest.raises(ValueError, match="expected a width that 4 divides for grid positions, got 6"):
        compact_position(2, 2, 6)
