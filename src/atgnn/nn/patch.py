"""From log-mel to patches, and the patch graph blocks (PGN) that let patches learn from patches that sound alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atgnn.nn.conv import GraphConv
from atgnn.nn.dense import FeedForward, StochasticDepth
from atgnn.nn.graph import Backend, Neighbors, knn
from atgnn.nn.linear import Linear
from atgnn.nn.position import Grid, compact_position, grid_position, pool_nodes, resize_table


class PatchGraph(Protocol):
    """A graph construction: from patches and (pooled) sources of a grid to the neighbours of every patch."""

    def __call__(self, x: Tensor, y: Tensor, grid: Grid, reduction: int) -> Neighbors | Tensor:
        """Link targets x (N, C) to sources y (M, C)."""


class Stem(nn.Sequential):
    """Cut a log-mel into patches with strided 3×3 convolutions, the last one without stride and activation.

    Args:
        widths: output widths of the strided convolutions; the last is the width C of the patches.

    Shape:
        log_mel: (B, 1, F, L).
        returns: (B, C, ⌈F/2ⁿ⌉, ⌈L/2ⁿ⌉) for n widths.
    """

    def __init__(self, widths: list[int]) -> None:
        layers: list[nn.Module] = []
        for before, after in zip([1, *widths], widths, strict=False):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.GELU()]
        layers += [nn.Conv2d(widths[-1], widths[-1], 3, padding=1), nn.BatchNorm2d(widths[-1])]
        super().__init__(*layers)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Make patches in channels_last, so that they flatten to nodes without a copy."""
        height, width = log_mel.shape[-2:]
        # With one channel both layouts look alike to torch; the strides have to say which one is meant.
        log_mel = log_mel.contiguous().as_strided(log_mel.shape, (height * width, 1, width, 1))
        return super().forward(log_mel)


class PositionEmbedding(nn.Module):
    """Add a learned vector for each place of the grid, resized bicubically where the grid differs.

    Args:
        channels: width C.
        height: H of the grid it is learned on.
        width: W of the grid it is learned on.

    Shape:
        x: (B, C, H', W').
        returns: (B, C, H', W').
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, channels, height, width))

    def forward(self, x: Tensor) -> Tensor:
        """Add the embedding."""
        weight: Tensor = self.weight
        if weight.shape[-2:] != x.shape[-2:]:
            weight = F.interpolate(weight, size=x.shape[-2:], mode="bicubic", align_corners=False)
        return x + weight.contiguous(memory_format=torch.channels_last)


class Downsample(nn.Sequential):
    """Halve the grid between two stages with a strided 3×3 convolution and BatchNorm.

    Shape:
        x: (B, C, H, W).
        returns: (B, D, ⌈H/2⌉, ⌈W/2⌉).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1), nn.BatchNorm2d(out_channels))


class KNNGraph(nn.Module):
    """Link every patch to the k patches that sound most like it, rebuilt from the features each time.

    The search runs on l2-normalised features. By default they are joined by grid coordinates that make near patches
    nearer (:func:`~atgnn.nn.position.grid_position`); the published form adds a frozen table to the distances instead.

    Args:
        k: neighbours of each patch.
        dilation: keep every dilation-th of the k·dilation nearest.
        position: join the grid coordinates.
        table: relative-position biases, see :func:`~atgnn.nn.position.position_table`; in place of ``position``.
        backend: k-NN back end, see :func:`~atgnn.nn.graph.knn`.

    Shape:
        x: (N, C) targets; y: (M, C) sources, pooled r×r on the grid.
        table: (N/B, M/B); resized where the grid differs.
        returns: Neighbors with index (N, K).
    """

    def __init__(
        self, k: int, dilation: int = 1, position: bool = True, table: Tensor | None = None, backend: Backend = "auto"
    ) -> None:
        super().__init__()
        self.table = None if table is None else nn.Parameter(table.clone(), requires_grad=False)
        self.k = k
        self.dilation = dilation
        self.position = position and table is None
        self.backend = backend
        self._kept: tuple[tuple[object, ...], tuple[Tensor, Tensor]] | None = None

    @torch.no_grad()
    def forward(self, x: Tensor, y: Tensor, grid: Grid, reduction: int = 1) -> Neighbors:
        """Search the neighbours of every patch of the batch."""
        same = x is y
        places = self._places(grid, x.size(1), reduction, x.device) if self.position else (None, None)
        x = _coordinates(x, grid.clips, places[0])
        y = x if same else _coordinates(y, grid.clips, places[1])
        bias = None if self.table is None else resize_table(self.table, len(x) // grid.clips, len(y) // grid.clips)
        return knn(x, y, self.k, num_clips=grid.clips, dilation=self.dilation, bias=bias, backend=self.backend)

    def _places(self, grid: Grid, width: int, reduction: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Coordinates of targets and sources; those of the grid seen last are kept."""
        size = grid.height, grid.width, width
        if torch.compiler.is_compiling():  # sizes may be symbols, and the long form holds for all of them
            return grid_position(*size, 1, device), grid_position(*size, reduction, device)
        key = *size, reduction, device
        if self._kept is not None and self._kept[0] == key:
            return self._kept[1]
        targets, sources = (place.to(device) for place in compact_position(*size, reduction))
        if type(targets) is Tensor:  # and no stand-in of a tracer
            self._kept = key, (targets, sources)
        return targets, sources

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"k={self.k}, dilation={self.dilation}, position={self.position}, backend={self.backend!r}"


def _coordinates(x: Tensor, clips: int, place: Tensor | None) -> Tensor:
    """Unit vectors of the nodes, and where they lie."""
    x = F.normalize(x.float(), dim=-1)
    if place is None:
        return x
    both = x.new_empty(clips, place.size(0), x.size(1) + place.size(1))
    both[..., : x.size(1)] = x.view(clips, -1, x.size(1))
    both[..., x.size(1) :] = place
    return both.flatten(0, 1)


class PatchGraphBlock(nn.Module):
    """Let every patch learn from the patches it is linked to (PGN): graph part, then feed-forward part.

    Args:
        channels: width C.
        graph: the graph construction.
        conv: makes the graph convolution of (in_channels, out_channels): one of :mod:`atgnn.nn.conv`, or any of PyG
            that takes ((M, C), (N, C)) and an edge_index.
        reduction: r; the sources are the patches average-pooled r×r.
        drop_path: probability of stochastic depth on both branches.
        residual: add both branches to the patches; False puts them in their place.

    Shape:
        x: (N, C), patches of the grid.
        returns: (N, C).
    """

    def __init__(
        self,
        channels: int,
        graph: nn.Module,
        conv: Callable[[int, int], nn.Module],
        reduction: int = 1,
        drop_path: float = 0.0,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.reduction = reduction
        self.residual = residual
        self.before = nn.Sequential(Linear(channels, channels), nn.BatchNorm1d(channels))
        self.graph = graph
        self.conv = conv(channels, 2 * channels)
        self.after = nn.Sequential(Linear(2 * channels, channels), nn.BatchNorm1d(channels))
        self.drop_path = StochasticDepth(drop_path)
        self.feed_forward = FeedForward(channels, drop_path=drop_path, residual=residual)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """Update the patches (N, C) of a batch."""
        target = self.before(x)
        source = pool_nodes(target, grid, self.reduction)
        neighbors = self.graph(target, source, grid, self.reduction)
        after, norm = self.after
        if isinstance(self.conv, GraphConv):
            mixed = self.conv((source, target), neighbors, after)
        else:
            edges = neighbors.edge_index if isinstance(neighbors, Neighbors) else neighbors
            mixed = after(self.conv((source, target), edges))
        branch = self.drop_path(norm(mixed), grid.clips)
        return self.feed_forward(x + branch if self.residual else branch, grid.clips)
