from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GATv2Conv

from atgnn.nn.conv import MaxRelativeConv
from atgnn.nn.patch import Downsample, KNNGraph, PatchGraphBlock, PositionEmbedding, Stem
from atgnn.nn.position import Grid, cell_centers, pool_nodes, sine_cosine

SIZES = [(128, 1), (64, 65), (7, 5), (4, 8), (1, 1)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("widths", [[4, 8], [2, 4, 8, 16]])
def test_stem_halves_both_axes_rounding_up(height: int, width: int, widths: list[int]) -> None:
    step = 2 ** len(widths)
    out = Stem(widths).eval()(torch.randn(2, 1, height, width))
    assert out.shape == (2, widths[-1], -(-height // step), -(-width // step))


def test_stem_ends_without_stride_and_activation() -> None:
    stem = list(Stem([4, 8]))
    assert [layer.stride for layer in stem if isinstance(layer, nn.Conv2d)] == [(2, 2), (2, 2), (1, 1)]
    assert [type(layer) for layer in stem[-2:]] == [nn.Conv2d, nn.BatchNorm2d]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_downsample_halves_the_map_rounding_up(height: int, width: int) -> None:
    assert Downsample(4, 8).eval()(torch.randn(2, 4, height, width)).shape == (2, 8, -(-height // 2), -(-width // 2))


def test_position_embedding_is_added_as_it_is_at_its_own_size() -> None:
    layer, x = PositionEmbedding(3, 4, 6), torch.randn(2, 3, 4, 6)
    assert torch.equal(layer(x), x)
    nn.init.normal_(layer.weight)
    assert torch.equal(layer(x), x + layer.weight)


@pytest.mark.parametrize(("height", "width"), [(4, 12), (8, 3), (1, 1)])
def test_position_embedding_is_resized_to_other_grids(height: int, width: int) -> None:
    layer, x = PositionEmbedding(3, 4, 6), torch.randn(2, 3, height, width)
    nn.init.normal_(layer.weight)
    resized = F.interpolate(layer.weight, (height, width), mode="bicubic")
    torch.testing.assert_close(layer(x), x + resized)
    nn.init.constant_(layer.weight, 0.5)
    torch.testing.assert_close(layer(x), x + 0.5)


@pytest.mark.parametrize("position", [True, False])
@pytest.mark.parametrize("reduction", [1, 2])
def test_graph_links_the_nearest_by_sound_and_place(position: bool, reduction: int) -> None:
    grid, k, dilation = Grid(2, 4, 6), 3, 2
    x = torch.randn(48, 8)
    y = pool_nodes(x, grid, reduction)
    places = [
        torch.cat([torch.cat([rows, columns])[None] for rows in height for columns in width])
        for height, width in (
            (sine_cosine(cell_centers(4, r), 4), sine_cosine(cell_centers(6, r), 4)) for r in (1, reduction)
        )
    ]
    expected = []
    for clip, (targets, sources) in enumerate(zip(x.chunk(2), y.chunk(2), strict=True)):
        for target, place in zip(targets, places[0], strict=True):
            distance = (F.normalize(target, dim=0) - F.normalize(sources, dim=1)).square().sum(1)
            if position:
                distance = distance - 2 / 8 * places[1] @ place
            expected.append(distance.argsort()[: k * dilation : dilation] + clip * len(sources))
    index = KNNGraph(k, dilation, position)(x, y, grid, reduction).index
    assert torch.equal(index, torch.stack(expected))


def test_patches_that_sound_alike_are_linked_to_the_nearest_place() -> None:
    index = KNNGraph(3)(torch.ones(7, 16), torch.ones(7, 16), Grid(1, 1, 7)).index
    assert index[:, 0].tolist() == list(range(7))
    assert [set(row) for row in index[1:6].tolist()] == [{i - 1, i, i + 1} for i in range(1, 6)]


class Ring(nn.Module):
    """A graph construction of one's own: every patch hears itself and the source after its own, as an edge_index."""

    def forward(self, x: Tensor, y: Tensor, grid: Grid, reduction: int) -> Tensor:
        targets = torch.arange(grid.height * grid.width).repeat(2, 1)
        sources = len(y) // grid.clips
        clips = [
            torch.stack(
                ((targets + torch.tensor([[0], [1]])) % sources + clip * sources, targets + clip * len(targets[0]))
            )
            for clip in range(grid.clips)
        ]
        return torch.cat(clips, dim=-1).flatten(1)


def block(
    reduction: int = 1, graph: nn.Module | None = None, conv: type[nn.Module] = MaxRelativeConv
) -> PatchGraphBlock:
    return PatchGraphBlock(8, graph or KNNGraph(4, 2), conv, reduction, drop_path=0.1).eval()


def gat(in_channels: int, out_channels: int) -> nn.Module:
    return GATv2Conv(in_channels, out_channels, add_self_loops=False)


@pytest.mark.parametrize("conv", [MaxRelativeConv, gat])
@pytest.mark.parametrize(("height", "width", "reduction"), [(4, 6, 1), (4, 6, 2), (5, 3, 2), (5, 3, 4), (1, 1, 4)])
def test_batch_equals_a_loop_over_clips(height: int, width: int, reduction: int, conv: type[nn.Module]) -> None:
    layer = block(reduction, Ring() if conv is gat else None, conv)
    x = torch.randn(3, height * width, 8)
    together = layer(x.flatten(0, 1), Grid(3, height, width))
    alone = [layer(clip, Grid(1, height, width)) for clip in x]
    torch.testing.assert_close(together, torch.cat(alone))


def test_block_follows_its_parts() -> None:
    layer, x, grid = block(2), torch.randn(24, 8), Grid(1, 4, 6)
    hidden = layer.before(x)
    pooled = pool_nodes(hidden, grid, 2)
    neighbors = KNNGraph(4, 2)(hidden, pooled, grid, 2)
    mixed = x + layer.after(layer.conv((pooled, hidden), neighbors.edge_index))
    torch.testing.assert_close(layer(x, grid), mixed + layer.feed_forward.project(layer.feed_forward.expand(mixed)))


def test_gradients_pass_a_block_while_it_trains() -> None:
    layer = block(2).train()
    x = torch.randn(4 * 24, 8, requires_grad=True)
    layer(x, Grid(4, 4, 6)).square().sum().backward()
    assert x.grad.isfinite().all()
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_a_plain_block_puts_its_branches_in_place_of_the_patches() -> None:
    layer = PatchGraphBlock(8, KNNGraph(4), MaxRelativeConv, residual=False).eval()
    x, grid = torch.randn(24, 8), Grid(1, 4, 6)
    hidden = layer.before(x)
    branch = layer.after(layer.conv((hidden, hidden), KNNGraph(4)(hidden, hidden, grid, 1)))
    expected = layer.feed_forward.project(layer.feed_forward.expand(branch))
    torch.testing.assert_close(layer(x, grid), expected)
