"""Neighbourhoods of nodes, and the k-nearest-neighbour search that finds them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from atgnn.nn.linear import by_onednn, linear

Backend = Literal["auto", "dense", "torch_cluster"]

#: Bytes that the distances of one chunk of the dense search may take, whatever the number of nodes; little enough for
#: the memory of a chunk to be used again for the next, instead of being fetched anew from the system.
CHUNK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Neighbors:
    """A graph in which every target node has the same number of neighbours.

    Args:
        index: (N, K) rows of the flat source matrix that each target gathers from, nearest first.
        num_sources: M, the number of rows of that source matrix.
    """

    index: Tensor
    num_sources: int

    @property
    def edge_index(self) -> Tensor:
        """The same graph as PyG's (2, E) COO, sources in row 0, targets in row 1, E = N·K."""
        targets = torch.arange(self.index.size(0), device=self.index.device)
        return torch.stack((self.index.flatten(), targets.repeat_interleave(self.index.size(1))))

    def gather_max(self, x: Tensor) -> Tensor:
        """Largest value over each neighbourhood, channel by channel: (M, C) → (N, C), with no (N, K, C) tensor."""
        if x.requires_grad and torch.is_grad_enabled():
            result: Tensor = _GatherMax.apply(x, self.index)
            return result
        return _running_max(x, self.index)[0]

    def gather_min(self, x: Tensor) -> Tensor:
        """Smallest value over each neighbourhood, channel by channel: (M, C) → (N, C)."""
        return -self.gather_max(-x)

    def gather_sum(self, x: Tensor) -> Tensor:
        """Sum over each neighbourhood: (M, C) → (N, C)."""
        return F.embedding_bag(self.index, x, mode="sum")


def _running_max(x: Tensor, index: Tensor, track: bool = False) -> tuple[Tensor, Tensor | None]:
    """Largest value over each neighbourhood, by K in-place maxima, and on request which neighbour has it (N, C)."""
    first, *others = index.t().contiguous().unbind()
    best = x.index_select(0, first)
    if not track:
        for rows in others:
            torch.maximum(best, x.index_select(0, rows), out=best)
        return best, None
    # The last neighbour that is larger than all before it; by a maximum of numbers, the fastest way there is.
    winner = best.new_zeros(best.shape, dtype=torch.uint8 if len(others) < 256 else torch.int16)
    for number, rows in enumerate(others, start=1):
        value = x.index_select(0, rows)
        torch.maximum(winner, (value > best).to(winner.dtype).mul_(number), out=winner)
        torch.maximum(best, value, out=best)
    return best, winner


class _GatherMax(torch.autograd.Function):
    """Keeps for the way back which neighbour won, a byte a channel, instead of every neighbour's values."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor) -> Tensor:
        best, winner = _running_max(x, index, track=True)
        ctx.save_for_backward(index, winner)
        ctx.num_sources = x.size(0)
        return best

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        index, winner = ctx.saved_tensors
        rows = index.gather(1, winner.long())
        return grad.new_zeros(ctx.num_sources, grad.size(1)).scatter_add_(0, rows, grad), None


def clamp_dilation(k: int, dilation: int, num_sources: int) -> tuple[int, int]:
    """Fit ``k`` dilated neighbours into ``num_sources`` nodes: the dilation shrinks first, then k.

    Returns:
        (k, dilation) with (k − 1)·dilation < num_sources.
    """
    k = min(k, num_sources)
    return k, max(1, min(dilation, num_sources // k))


@torch.no_grad()
def knn(
    x: Tensor,
    y: Tensor,
    k: int,
    *,
    num_clips: int = 1,
    batch_x: Tensor | None = None,
    batch_y: Tensor | None = None,
    dilation: int = 1,
    bias: Tensor | None = None,
    backend: Backend = "auto",
    chunk_bytes: int = CHUNK_BYTES,
) -> Neighbors:
    r"""Link every target to its k nearest sources of the same clip, in one Euclidean space.

    The k·dilation nearest are found in ascending order and every dilation-th is kept. Where a clip has fewer sources,
    first the dilation shrinks, then k; in a ragged batch the clip with the fewest sources decides for all. The search
    is exact, runs in fp32 (also inside autocast) and takes no part in the gradient.

    Args:
        x: coordinates of the targets.
        y: coordinates of the sources.
        k: neighbours of each target.
        num_clips: B; clips of equal length, whose nodes follow each other.
        batch_x: clip of every target, ascending, where clips differ in length (then ``num_clips`` is not used).
        batch_y: clip of every source, ascending.
        dilation: keep every dilation-th of the nearest.
        bias: added to the squared distances, the same for every clip; the dense search alone knows it.
        backend: ``"dense"`` (one matrix product and top-k), ``"torch_cluster"``, or ``"auto"``: dense for clips of
            equal length, torch_cluster for ragged batches.
        chunk_bytes: bound on the memory for distances (dense).

    Shape:
        x: (N, C).
        y: (M, C).
        bias: (N/B, M/B).
        returns: Neighbors with ``index`` (N, K).

    Raises:
        ValueError: if widths or clips of x and y do not fit, or k or dilation is below 1.
        ImportError: if torch_cluster is asked for or needed, and is not installed.
    """
    _check(x, y, k, dilation, num_clips, batch_x, batch_y)
    if bias is not None and (batch_x is not None or backend == "torch_cluster"):
        raise ValueError("expected the dense search where there is a bias, got torch_cluster; use backend='dense'")
    with torch.autocast(x.device.type, enabled=False):
        x, y = x.float(), y.float()
        if batch_x is not None and batch_y is not None:
            if backend == "dense":
                raise ValueError(
                    "expected clips of equal length for the dense search, got batch vectors; "
                    "use backend='torch_cluster' or 'auto'"
                )
            sources = torch.bincount(batch_y, minlength=int(batch_x.max()) + 1)
            if not sources.all():
                raise ValueError(
                    f"expected at least one source in every clip, got none in clip {int(sources.argmin())}; "
                    "leave clips without nodes out of the batch"
                )
            k, dilation = clamp_dilation(k, dilation, int(sources.min()))
            index = _torch_cluster_search(x, y, (k - 1) * dilation + 1, batch_x, batch_y)
        else:
            if not torch.compiler.is_exporting():  # the number of sources is open then, above a stated minimum
                k, dilation = clamp_dilation(k, dilation, y.size(0) // num_clips)
            reach = (k - 1) * dilation + 1
            if backend == "torch_cluster":
                batch_x = torch.arange(num_clips, device=x.device).repeat_interleave(x.size(0) // num_clips)
                batch_y = torch.arange(num_clips, device=x.device).repeat_interleave(y.size(0) // num_clips)
                index = _torch_cluster_search(x, y, reach, batch_x, batch_y)
            else:
                index = _dense_search(x, y, reach, num_clips, chunk_bytes, bias)
    return Neighbors(index[:, ::dilation].contiguous(), y.size(0))


def _dense_search(x: Tensor, y: Tensor, k: int, num_clips: int, chunk_bytes: int, bias: Tensor | None = None) -> Tensor:
    """Nearest sources by one matrix product a chunk: argmin_j ‖x_i − y_j‖² = argmin_j ‖y_j‖² − 2·x_i·y_j."""
    x = x.view(num_clips, -1, x.size(1))
    y = y.view(num_clips, -1, y.size(1))
    num_targets, num_sources = x.size(1), y.size(1)
    square = y.square().sum(-1).unsqueeze(1)
    offset = torch.arange(num_clips, device=x.device).view(-1, 1, 1) * num_sources

    targets = min(max(1, chunk_bytes // (4 * num_sources)), num_targets)
    # oneDNN, the faster where it is used, multiplies two matrices at a time.
    by_clip = by_onednn(x)
    clips = 1 if by_clip else max(1, chunk_bytes // (4 * num_sources * targets))
    y = -2 * y
    index = torch.empty(num_clips, num_targets, k, dtype=torch.long, device=x.device)
    for b in range(0, num_clips, clips):
        for i in range(0, num_targets, targets):
            target, source, constant = x[b : b + clips, i : i + targets], y[b : b + clips], square[b : b + clips]
            if by_clip:
                distance = linear(target[0], source[0], constant[0, 0]).unsqueeze(0)
            else:
                distance = torch.baddbmm(constant, target, source.transpose(1, 2))
            if bias is not None:
                distance += bias[i : i + targets]
            index[b : b + clips, i : i + targets] = smallest(distance, k)
    return index.add_(offset).view(-1, k)


def smallest(distance: Tensor, k: int) -> Tensor:
    """Where the k smallest of each row are, in ascending order.

    Long rows are seen as groups: the k smallest numbers lie in the k groups with the smallest minima. For, if a number
    is smaller than the k-th smallest, so is the minimum of its group, and there are fewer than k such groups.

    Shape:
        distance: (B, N, M).
        returns: (B, N, k).
    """
    length = distance.size(-1)
    groups = 2 ** round(math.log2(k * length) / 2)  # the number for which least is left to look at
    members = -(-length // groups)
    if groups <= k or 3 * (groups + k * members) > 2 * length:
        return distance.topk(k, dim=-1, largest=False).indices
    if members * groups > length:
        distance = F.pad(distance, (0, members * groups - length), value=torch.inf)
    grouped = distance.unflatten(-1, (members, groups))
    nearest = grouped.amin(-2).topk(k, dim=-1, largest=False, sorted=False).indices
    candidates = grouped.gather(-1, nearest.unsqueeze(-2).expand(*grouped.shape[:-1], k)).flatten(-2)
    found = candidates.topk(k, dim=-1, largest=False).indices
    return torch.div(found, k, rounding_mode="floor") * groups + nearest.gather(-1, found % k)


def _torch_cluster_search(x: Tensor, y: Tensor, k: int, batch_x: Tensor, batch_y: Tensor) -> Tensor:
    """Nearest sources by torch-cluster, each row sorted by distance (its CUDA kernel does not promise an order)."""
    try:
        import torch_cluster
    except ImportError as error:
        raise ImportError(
            "expected torch-cluster for ragged batches or backend='torch_cluster', got none installed; "
            "install it with `pip install --no-build-isolation torch-cluster`, or use clips of equal length"
        ) from error
    _, source = torch_cluster.knn(y, x, k, batch_y, batch_x)
    index = source.view(x.size(0), k)
    distance = (x.unsqueeze(1) - y[index]).square().sum(-1)
    return index.gather(1, distance.argsort(dim=1, stable=True))


def _check(
    x: Tensor, y: Tensor, k: int, dilation: int, num_clips: int, batch_x: Tensor | None, batch_y: Tensor | None
) -> None:
    if k < 1 or dilation < 1:
        raise ValueError(f"expected k and dilation of at least 1, got k={k}, dilation={dilation}")
    if x.dim() != 2 or y.dim() != 2 or x.size(1) != y.size(1):
        raise ValueError(f"expected x (N, C) and y (M, C) of one width, got {tuple(x.shape)} and {tuple(y.shape)}")
    if (batch_x is None) != (batch_y is None):
        raise ValueError("expected batch_x and batch_y together, got only one of them")
    if batch_x is None and (x.size(0) % num_clips or y.size(0) % num_clips or y.size(0) == 0):
        raise ValueError(
            f"expected nodes that {num_clips} clips share equally, got {x.size(0)} targets and {y.size(0)} sources; "
            "give batch_x and batch_y for clips of different length"
        )
