"""Where a patch lies on the spectrogram, as extra coordinates of the k-NN search."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class Grid(NamedTuple):
    """How the flat nodes of a batch lie: B clips of height·width patches each, row by row."""

    clips: int
    height: int
    width: int

    def to_map(self, x: Tensor) -> Tensor:
        """Nodes (B·H·W, C) as a feature map (B, C, H, W) in channels_last, without copying."""
        return x.view(self.clips, self.height, self.width, -1).permute(0, 3, 1, 2)

    @staticmethod
    def from_map(x: Tensor) -> tuple[Tensor, Grid]:
        """A feature map (B, C, H, W) as nodes (B·H·W, C) and their grid; copies only if not channels_last."""
        clips, channels, height, width = x.shape
        return x.permute(0, 2, 3, 1).reshape(-1, channels), Grid(clips, height, width)


def pool_nodes(x: Tensor, grid: Grid, reduction: int) -> Tensor:
    """Average cells of reduction×reduction patches; cells at the far edges hold what is left there.

    Shape:
        x: (N, C).
        returns: (M, C), M = B·⌈H/r⌉·⌈W/r⌉.
    """
    if reduction == 1:
        return x
    pooled = F.avg_pool2d(grid.to_map(x), reduction, ceil_mode=True)
    return Grid.from_map(pooled)[0]


def position_table(height: int, width: int, dim: int, reduction: int = 1) -> Tensor:
    r"""Relative-position biases as the published model keeps them, frozen, in its checkpoints.

    :math:`p = -\tfrac{2}{D} E E^\top` for the 2-D sine-cosine embedding E of a *square* grid of side
    :math:`\lfloor\sqrt{N}\rfloor`, resized bicubically to N×M: on a spectrogram's grid the positions are distorted.
    :func:`grid_position` needs no table and has the true ones.

    Shape:
        returns: (N, M), N = H·W, M = ⌈H/r⌉·⌈W/r⌉.

    Source: Han et al., "Vision GNN", NeurIPS 2022.
    """
    nodes = height * width
    sources = math.ceil(height / reduction) * math.ceil(width / reduction)
    position = grid_position(math.isqrt(nodes), math.isqrt(nodes), dim)
    return resize_table(-2 * position @ position.T, nodes, sources)


def resize_table(table: Tensor, nodes: int, sources: int) -> Tensor:
    """Resize a table (N, M) bicubically."""
    if table.shape == (nodes, sources):
        return table
    return F.interpolate(table[None, None], size=(nodes, sources), mode="bicubic", align_corners=False)[0, 0]


def cell_centers(size: int, reduction: int, device: torch.device | None = None) -> Tensor:
    """Centres of the cells that :func:`pool_nodes` makes of ``size`` patches in a row, in patches: (⌈size/r⌉,)."""
    first = torch.arange(0, size, reduction, device=device, dtype=torch.float32)
    last = (first + reduction - 1).clamp(max=size - 1)
    return (first + last) / 2


def sine_cosine(position: Tensor, dim: int) -> Tensor:
    """Sines and cosines of positions (P,) at dim/2 frequencies 1/10000^(2i/dim): (P, dim)."""
    frequency = 10000.0 ** -(torch.arange(dim // 2, device=position.device, dtype=torch.float32) / (dim / 2))
    angle = position.unsqueeze(1) * frequency
    return torch.cat((angle.sin(), angle.cos()), dim=1)


def grid_position(height: int, width: int, dim: int, reduction: int = 1, device: torch.device | None = None) -> Tensor:
    r"""Coordinates of grid cells whose squared distance is the relative-position bias of a pyramid.

    With E the 2-D sine-cosine embedding, :math:`\lVert E_i \rVert^2 = D/2` for every cell, so that
    :math:`\lVert E_i - E_j \rVert^2 / D = 1 - \frac{2}{D} E_i \cdot E_j`: up to a constant the bias p of the
    published model, here on the true rectangle of patches.

    Args:
        height: H, patches along frequency.
        width: W, patches along time.
        dim: D, a multiple of 4; half of it for each axis.
        reduction: r, cells of r×r patches, placed at their centres.
        device: where to build it.

    Shape:
        returns: (⌈H/r⌉·⌈W/r⌉, D).

    Raises:
        ValueError: if ``dim`` is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"expected a width that 4 divides for grid positions, got {dim}")
    rows = sine_cosine(cell_centers(height, reduction, device), dim // 2)
    columns = sine_cosine(cell_centers(width, reduction, device), dim // 2)
    shape = (rows.size(0), columns.size(0), dim // 2)
    position = torch.cat((rows.unsqueeze(1).expand(shape), columns.unsqueeze(0).expand(shape)), dim=-1)
    return position.reshape(-1, dim) / dim**0.5


def compact_position(height: int, width: int, dim: int, reduction: int = 1) -> tuple[Tensor, Tensor]:
    """Coordinates of cells and of pooled cells with the distances of :func:`grid_position`, in far fewer dimensions.

    Most frequencies hardly turn from one end of a grid to the other. What the positions of an axis span is rotated
    into its principal directions, and those along which nothing is further than 1e-4 from the middle are left out:
    squared distances change by less than 1e-6. Of 400 dimensions on a grid of 8 by 64 patches, 32 are left.

    Args:
        height: H, patches along frequency.
        width: W, patches along time.
        dim: D, a multiple of 4; half of it for each axis.
        reduction: r, cells of r×r patches, placed at their centres.

    Shape:
        returns: (H·W, P) of the cells and (⌈H/r⌉·⌈W/r⌉, P) of the pooled cells, on the CPU.

    Raises:
        ValueError: if ``dim`` is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"expected a width that 4 divides for grid positions, got {dim}")
    rows, columns = (_principal(size, dim, reduction) for size in (height, width))
    both = []
    for row, column in zip(rows, columns, strict=True):
        shape = len(row), len(column)
        grid = [
            np.broadcast_to(row[:, None], (*shape, row.shape[1])),
            np.broadcast_to(column, (*shape, column.shape[1])),
        ]
        both.append(torch.from_numpy(np.concatenate(grid, axis=-1).reshape(len(row) * len(column), -1)))
    return both[0], both[1]


@functools.lru_cache(maxsize=256)
def _principal(size: int, dim: int, reduction: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions along one axis, of cells (size, P) and of pooled cells, about their middle."""
    first = np.arange(0, size, reduction)
    centers = (first + np.minimum(first + reduction - 1, size - 1)) / 2
    frequency = 10000.0 ** -(np.arange(dim // 4) / (dim / 4))
    angle = np.concatenate((np.arange(size), centers))[:, None] * frequency
    position = np.concatenate((np.sin(angle), np.cos(angle)), axis=1) / dim**0.5
    left, spread, _ = np.linalg.svd(position - position.mean(0), full_matrices=False)
    kept = (left * spread)[:, spread > 1e-4].astype(np.float32)
    return kept[:size], kept[size:]
