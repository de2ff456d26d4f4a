"""Graph constructions: tiny graphs by hand, a batch as a loop over its clips, and none across clips."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atgnn.network import ATGNNNetwork
from atgnn.nn.construct import GridGraph, MultiRangeGraph, PointCloudGraph, RandomGraph, VisibilityGraph, visible
from atgnn.nn.graph import Neighbors
from atgnn.nn.patch import KNNGraph
from atgnn.nn.position import Grid, pool_nodes

GRAPHS: list[nn.Module] = [
    GridGraph(4),
    GridGraph(8),
    RandomGraph(5),
    VisibilityGraph(),
    VisibilityGraph(horizontal=True),
    PointCloudGraph(5),
    MultiRangeGraph(4),
]
NAMES = ["grid4", "grid8", "random", "natural", "horizontal", "cloud", "multi-range"]


def edges(graph: Neighbors | Tensor) -> set[tuple[int, int]]:
    """Pairs of source and target."""
    index = graph.edge_index if isinstance(graph, Neighbors) else graph
    return {(int(source), int(target)) for source, target in index.T}


def heights(*rows: list[float]) -> Tensor:
    """Nodes (N, 1) as high as these, row by row."""
    return torch.tensor([height for row in rows for height in row]).unsqueeze(1)


def sees(series: list[float], horizontal: bool = False) -> set[tuple[int, int]]:
    """Pairs of different moments a < b that see each other."""
    return {(int(a), int(b)) for a, b in visible(torch.tensor(series), horizontal).nonzero() if a < b}


def test_grid_of_two_by_three() -> None:
    # 0 1 2
    # 3 4 5
    x = torch.randn(6, 4)
    four = GridGraph(4)(x, x, Grid(1, 2, 3)).index
    assert four[:, 0].tolist() == list(range(6))
    assert [set(row) for row in four.tolist()] == [
        {0, 1, 3},
        {0, 1, 2, 4},
        {1, 2, 5},
        {0, 3, 4},
        {1, 3, 4, 5},
        {2, 4, 5},
    ]
    eight = GridGraph(8)(x, x, Grid(1, 2, 3)).index
    assert [set(row) for row in eight.tolist()][:3] == [{0, 1, 3, 4}, {0, 1, 2, 3, 4, 5}, {1, 2, 4, 5}]


def test_grid_of_pooled_sources_starts_from_the_own_cell() -> None:
    # 2×4 patches in cells of 2×2: cells 0 and 1 side by side.
    x, grid = torch.randn(8, 4), Grid(1, 2, 4)
    index = GridGraph(4)(x, pool_nodes(x, grid, 2), grid, 2).index
    assert index[:, 0].tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert all(set(row) == {0, 1} for row in index.tolist())


def test_random_links_stay_and_differ_from_block_to_block() -> None:
    x, grid = torch.randn(48, 4), Grid(2, 4, 6)
    one, other = RandomGraph(6), RandomGraph(6)
    index = one(x, x, grid).index
    assert torch.equal(index, one(torch.randn(48, 4), x, grid).index)
    assert not torch.equal(index, other(x, x, grid).index)
    other.load_state_dict(one.state_dict())
    assert torch.equal(index, other(x, x, grid).index)
    assert index[:, 0].tolist() == list(range(48))
    assert all(len(set(row)) == 6 for row in index.tolist())
    hits = torch.bincount(one(torch.zeros(900, 1), torch.zeros(900, 1), Grid(1, 30, 30)).index[:, 1:].flatten())
    assert hits.float().mean() == pytest.approx(5, abs=0.1)
    assert hits.max() < 20


def test_random_graph_takes_all_sources_where_there_are_few() -> None:
    x, grid = torch.randn(8, 4), Grid(1, 2, 4)
    assert RandomGraph(9)(x, pool_nodes(x, grid, 2), grid, 2).index.sort(1).values.tolist() == [[0, 1]] * 8


def test_random_links_are_kept_for_a_grid_and_follow_the_seed() -> None:
    graph, x = RandomGraph(3), torch.randn(12, 4)
    first = graph(x, x, Grid(1, 3, 4)).index
    assert graph(x[:6], x[:6], Grid(1, 2, 3)).index.shape == (6, 3), "another grid has others"
    assert torch.equal(graph(x, x, Grid(1, 3, 4)).index, first)
    assert torch.equal(graph(x.repeat(2, 1), x.repeat(2, 1), Grid(2, 3, 4)).index, torch.cat((first, first + 12)))
    other = RandomGraph(3)
    other(x, x, Grid(1, 3, 4))
    other.load_state_dict(graph.state_dict())
    assert torch.equal(other(x, x, Grid(1, 3, 4)).index, first), "also where links of its own seed were kept"


def test_natural_visibility_by_hand() -> None:
    # From 3 the slopes are −2, −1, 0: each is above all before, so it sees all. 1 (at 1) sees 2 and then 3 in line.
    assert sees([3.0, 1.0, 2.0, 3.0]) == {(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)}
    # A straight line blocks itself; a valley is seen across.
    assert sees([0.0, 1.0, 2.0]) == {(0, 1), (1, 2)}
    assert sees([2.0, 0.0, 2.0]) == {(0, 1), (1, 2), (0, 2)}


def test_horizontal_visibility_by_hand() -> None:
    assert sees([3.0, 1.0, 2.0, 4.0], horizontal=True) == {(0, 1), (1, 2), (0, 2), (2, 3), (0, 3)}
    assert sees([2.0, 2.0, 2.0], horizontal=True) == {(0, 1), (1, 2)}


@pytest.mark.parametrize("horizontal", [False, True])
def test_visibility_is_its_definition(horizontal: bool) -> None:
    series = torch.rand(17, dtype=torch.double)
    h = series.tolist()
    expected = set()
    for a in range(17):
        for b in range(a + 1, 17):
            between = range(a + 1, b)
            if horizontal:
                clear = all(h[c] < min(h[a], h[b]) for c in between)
            else:
                clear = all(h[c] < h[b] + (h[a] - h[b]) * (b - c) / (b - a) for c in between)
            if clear:
                expected.add((a, b))
    assert {(int(a), int(b)) for a, b in visible(series, horizontal).nonzero() if a < b} == expected
    assert torch.equal(visible(series, horizontal), visible(series.flip(0), horizontal).flip(0, 1))


def test_visibility_stays_in_its_band() -> None:
    x = heights([2.0, 1.0, 3.0], [1.0, 3.0, 2.0])
    assert edges(VisibilityGraph()(x, x, Grid(1, 2, 3))) == {
        *((i, i) for i in range(6)), (0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (2, 0), (3, 4), (4, 3), (4, 5), (5, 4),
    }  # fmt: skip


def test_patches_see_what_their_pooled_cell_sees() -> None:
    # Cells 3, 1, 2 in one band, of 2×2 patches each; the last is half a cell wide.
    x, grid = heights([3.0, 3, 1, 1, 2], [3.0, 3, 1, 1, 2]), Grid(1, 2, 5)
    graph = VisibilityGraph(horizontal=True)(x, pool_nodes(x, grid, 2), grid, 2)
    of = [{source for source, target in edges(graph) if target == n} for n in range(10)]
    assert of[:5] == [{0, 1, 2}, {0, 1, 2}, {0, 1, 2}, {0, 1, 2}, {0, 1, 2}]
    x = heights([1.0, 1, 3, 3, 2], [1.0, 1, 3, 3, 2])
    graph = VisibilityGraph(horizontal=True)(x, pool_nodes(x, grid, 2), grid, 2)
    of = [{source for source, target in edges(graph) if target == n} for n in range(10)]
    assert of == 2 * [{0, 1}, {0, 1}, {0, 1, 2}, {0, 1, 2}, {1, 2}]


def test_cloud_by_hand() -> None:
    # Four moments of one band. Spreads: time √1.25, energy 1 (heights 1 and 3); frequency has none.
    # Squared distances from patch 0: to 1 0.8 + 4, to 2 3.2, to 3 7.2 + 4.
    x = heights([1.0, 3.0, 1.0, 3.0])
    index = PointCloudGraph(3)(x, x, Grid(1, 1, 4)).index
    assert index.tolist()[:2] == [[0, 2, 1], [1, 3, index[1, 2].item()]]


def test_multi_range_is_both_graphs_side_by_side() -> None:
    x, grid = torch.randn(48, 8), Grid(2, 4, 6)
    y = pool_nodes(x, grid, 2)
    index = MultiRangeGraph(3, 8, dilation=2)(x, y, grid, 2).index
    assert torch.equal(index[:, :9], GridGraph(8)(x, y, grid, 2).index)
    assert torch.equal(index[:, 9:], KNNGraph(3, 2)(x, y, grid, 2).index)


@pytest.mark.parametrize("graph", GRAPHS, ids=NAMES)
@pytest.mark.parametrize(("height", "width", "reduction"), [(4, 6, 1), (4, 6, 2), (5, 3, 2), (5, 3, 4), (1, 1, 4)])
def test_batch_equals_a_loop_and_stays_in_its_clips(graph: nn.Module, height: int, width: int, reduction: int) -> None:
    x = torch.randn(3, height * width, 8)
    grid = Grid(3, height, width)
    y = pool_nodes(x.flatten(0, 1), grid, reduction)
    sources = len(y) // 3
    together = edges(graph(x.flatten(0, 1), y, grid, reduction))
    alone = {
        (source + clip * sources, target + clip * height * width)
        for clip in range(3)
        for source, target in edges(
            graph(x[clip], pool_nodes(x[clip], Grid(1, height, width), reduction), Grid(1, height, width), reduction)
        )
    }
    assert together == alone
    assert {target for _, target in together} == set(range(3 * height * width))
    assert {source // sources == target // (height * width) for source, target in together} == {True}


@pytest.mark.parametrize("graph", [VisibilityGraph(), PointCloudGraph(3)], ids=["visibility", "cloud"])
def test_bands_turned_upside_down_turn_the_graph(graph: nn.Module) -> None:
    x, grid = torch.randn(4, 6, 8), Grid(1, 4, 6)
    turn = torch.arange(24).view(4, 6).flip(0).flatten().tolist()
    plain = edges(graph(x.flatten(0, 1), x.flatten(0, 1), grid))
    turned = edges(graph(x.flip(0).flatten(0, 1), x.flip(0).flatten(0, 1), grid))
    assert turned == {(turn[source], turn[target]) for source, target in plain}


@pytest.mark.parametrize("graph", GRAPHS, ids=NAMES)
def test_a_network_learns_with_it_by_class_path(graph: nn.Module) -> None:
    network = ATGNNNetwork(3, "pyramid-nano", graph={"class_path": f"atgnn.nn.construct.{type(graph).__name__}"})
    logits = network(torch.randn(2, 1, 32, 40)).logits
    F.binary_cross_entropy_with_logits(logits, torch.ones(2, 3)).backward()
    assert math.isfinite(sum(p.grad.abs().sum().item() for p in network.parameters() if p.grad is not None))


def test_other_numbers_on_a_grid_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 4 or 8 neighbours on a grid, got 6"):
        GridGraph(6)
