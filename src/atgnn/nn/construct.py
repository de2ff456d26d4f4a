"""Other ways to link patches than by k-NN of their features; ``model.graph`` chooses one by its class path."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from atgnn.nn.graph import Neighbors, knn
from atgnn.nn.patch import KNNGraph
from atgnn.nn.position import Grid, cell_centers


class GridGraph(nn.Module):
    """Link every patch to the cell it lies in and to the cells around that one, whatever they sound like.

    Past the edge of the grid the nearest cell stands in, so that every patch has as many neighbours.

    Args:
        neighbors: 4, or 8 with the diagonals.

    Shape:
        x: (N, C) targets; y: (M, C) sources, pooled r×r on the grid.
        returns: Neighbors with index (N, neighbors + 1), the own cell first.

    Raises:
        ValueError: if there are neither 4 nor 8 neighbours.
    """

    def __init__(self, neighbors: int = 4) -> None:
        super().__init__()
        if neighbors not in (4, 8):
            raise ValueError(f"expected 4 or 8 neighbours on a grid, got {neighbors}; give one of these")
        near = [(0, 0), (0, -1), (0, 1), (-1, 0), (1, 0)]
        self.steps = near if neighbors == 4 else [*near, (-1, -1), (-1, 1), (1, -1), (1, 1)]

    @torch.no_grad()
    def forward(self, x: Tensor, y: Tensor, grid: Grid, reduction: int = 1) -> Neighbors:
        """Link the patches of a batch."""
        height, width = (math.ceil(n / reduction) for n in (grid.height, grid.width))
        rows, columns = own_cell(grid, reduction, x.device)
        steps = torch.tensor(self.steps, device=x.device)
        rows = (rows.unsqueeze(1) + steps[:, 0]).clamp(0, height - 1)
        columns = (columns.unsqueeze(1) + steps[:, 1]).clamp(0, width - 1)
        return in_every_clip(rows * width + columns, grid.clips, height * width)


class RandomGraph(nn.Module):
    """Link every patch to the cell it lies in and to k − 1 cells drawn once for a size of grid, the same in every clip.

    Every block draws links of its own; the checkpoint keeps the seed.

    Args:
        k: neighbours of each patch.

    Shape:
        x: (N, C) targets; y: (M, C) sources, pooled r×r on the grid.
        returns: Neighbors with index (N, K), K at most M/B.
    """

    seed: Tensor

    def __init__(self, k: int = 9) -> None:
        super().__init__()
        self.k = k
        self.register_buffer("seed", torch.randint(2**31, ()))
        self._kept: tuple[tuple[object, ...], Tensor] | None = None

    @torch.no_grad()
    def forward(self, x: Tensor, y: Tensor, grid: Grid, reduction: int = 1) -> Neighbors:
        """Link the patches of a batch; the links of the grid seen last are kept."""
        sources = y.size(0) // grid.clips
        key = grid.height, grid.width, reduction, x.device
        if self._kept is None or self._kept[0] != key:
            rows, columns = own_cell(grid, reduction, torch.device("cpu"))
            order = torch.rand(len(rows), sources, generator=torch.Generator().manual_seed(int(self.seed)))
            order.scatter_(1, (rows * math.ceil(grid.width / reduction) + columns).unsqueeze(1), -1.0)
            self._kept = key, order.topk(min(self.k, sources), largest=False).indices.to(x.device)
        return in_every_clip(self._kept[1], grid.clips, sources)

    def _load_from_state_dict(self, *args: Any, **options: Any) -> None:
        super()._load_from_state_dict(*args, **options)
        self._kept = None  # another seed, other links


class VisibilityGraph(nn.Module):
    r"""Link every patch to what it sees of its band: over time, each patch as high as its feature vector is long.

    Two moments a < b of a band see each other over all c between them where, with heights h,

    .. math:: \text{natural: } \frac{h_c - h_a}{c - a} < \frac{h_b - h_a}{b - a}, \qquad
              \text{horizontal: } h_c < \min(h_a, h_b).

    Pooled sources see each other, and each patch sees what its cell sees.

    Args:
        horizontal: horizontal instead of natural visibility, which links fewer.

    Shape:
        x: (N, C) targets; y: (M, C) sources, pooled r×r on the grid.
        returns: edge_index (2, E); every patch sees its own cell.

    Source: Lacasa et al., "From Time Series to Complex Networks", PNAS 2008; Luque et al., "Horizontal Visibility
        Graphs", Phys. Rev. E 2009.
    """

    def __init__(self, horizontal: bool = False) -> None:
        super().__init__()
        self.horizontal = horizontal

    @torch.no_grad()
    def forward(self, x: Tensor, y: Tensor, grid: Grid, reduction: int = 1) -> Tensor:
        """Link the patches of a batch."""
        height, width = (math.ceil(n / reduction) for n in (grid.height, grid.width))
        sees = visible(strength(y).view(grid.clips, height, width), self.horizontal)
        sees = sees.repeat_interleave(reduction, dim=1)[:, : grid.height]
        sees = sees.repeat_interleave(reduction, dim=2)[:, :, : grid.width]
        clip, row, column, source = sees.nonzero().unbind(1)
        target = (clip * grid.height + row) * grid.width + column
        band = torch.div(row, reduction, rounding_mode="floor")
        return torch.stack(((clip * height + band) * width + source, target))


class PointCloudGraph(nn.Module):
    """Link every patch to the k nearest in a cloud of time, frequency and energy, each in units of its spread.

    Energy is the length of a feature vector, and its spread that over the patches of the clip.

    Args:
        k: neighbours of each patch.

    Shape:
        x: (N, C) targets; y: (M, C) sources, pooled r×r on the grid.
        returns: Neighbors with index (N, K).
    """

    def __init__(self, k: int = 9) -> None:
        super().__init__()
        self.k = k

    @torch.no_grad()
    def forward(self, x: Tensor, y: Tensor, grid: Grid, reduction: int = 1) -> Neighbors:
        """Link the patches of a batch."""
        points = self._points(x, grid, 1)
        spread = points.std(dim=1, keepdim=True, correction=0).clamp(min=1e-6)
        sources = self._points(y, grid, reduction)
        return knn((points / spread).flatten(0, 1), (sources / spread).flatten(0, 1), self.k, num_clips=grid.clips)

    @staticmethod
    def _points(x: Tensor, grid: Grid, reduction: int) -> Tensor:
        place = torch.cartesian_prod(
            cell_centers(grid.height, reduction, x.device), cell_centers(grid.width, reduction, x.device)
        )
        return torch.cat((place.expand(grid.clips, -1, -1), strength(x).view(grid.clips, -1, 1)), dim=2)


class MultiRangeGraph(nn.Module):
    """Link every patch to those around it and to those that sound like it, wherever they are.

    Args:
        k: neighbours by their features.
        neighbors: 4 or 8 on the grid.
        dilation: of the search by features.
        position: join the grid coordinates to the features, see :class:`~atgnn.nn.patch.KNNGraph`.

    Shape:
        x: (N, C) targets; y: (M, C) sources, pooled r×r on the grid.
        returns: Neighbors with index (N, neighbors + 1 + K); a source may stand in both parts.
    """

    def __init__(self, k: int = 9, neighbors: int = 4, dilation: int = 1, position: bool = True) -> None:
        super().__init__()
        self.near = GridGraph(neighbors)
        self.alike = KNNGraph(k, dilation, position)

    @torch.no_grad()
    def forward(self, x: Tensor, y: Tensor, grid: Grid, reduction: int = 1) -> Neighbors:
        """Link the patches of a batch."""
        parts = [graph(x, y, grid, reduction).index for graph in (self.near, self.alike)]
        return Neighbors(torch.cat(parts, dim=1), y.size(0))


def own_cell(grid: Grid, reduction: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Row and column of the r×r cell that each patch of a clip lies in: (H·W,) each."""
    rows = torch.arange(grid.height, device=device) // reduction
    columns = torch.arange(grid.width, device=device) // reduction
    return rows.repeat_interleave(grid.width), columns.repeat(grid.height)


def in_every_clip(index: Tensor, clips: int, sources: int) -> Neighbors:
    """The same links (N/B, K) in each of B clips with ``sources`` each."""
    offset = torch.arange(clips, device=index.device).view(-1, 1, 1) * sources
    return Neighbors((index + offset).flatten(0, 1), clips * sources)


def strength(x: Tensor) -> Tensor:
    """Length of every feature vector: (N, C) → (N,)."""
    return x.float().norm(dim=-1)


def visible(series: Tensor, horizontal: bool = False) -> Tensor:
    """Which moments of a series see each other, and themselves.

    Shape:
        series: (…, W).
        returns: (…, W, W), True where they do.
    """
    width = series.size(-1)
    time = torch.arange(width, device=series.device)
    here, there = series.unsqueeze(-1), series.unsqueeze(-2).expand(*series.shape, width)
    later = time > time.unsqueeze(1)
    # Looking right from a: the slope up to each b, or its height; what lies between must stay below.
    view = there if horizontal else (there - here) / (time - time.unsqueeze(1)).clamp(min=1)
    view = view.masked_fill(~later, -math.inf)
    between = torch.cat((torch.full_like(view[..., :1], -math.inf), view.cummax(-1).values[..., :-1]), dim=-1)
    limit = torch.minimum(here, there) if horizontal else view
    sees = (limit > between) & later
    return sees | sees.transpose(-1, -2) | torch.eye(width, dtype=torch.bool, device=series.device)
