"""Label nodes: they gather from the patches nearest to them (PLG) and support each other (LLG)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atgnn.nn.conv import MaxRelativeConv
from atgnn.nn.dense import FeedForward, StochasticDepth
from atgnn.nn.graph import Backend, Neighbors, knn
from atgnn.nn.linear import Linear


class PatchLabelBlock(nn.Module):
    """Let every label gather from the k patches nearest to it (PLG), then transform it.

    Args:
        channels: width C of labels and patches.
        k: patches that each label gathers from.
        drop_path: probability of stochastic depth on both branches.
        backend: k-NN back end, see :func:`~atgnn.nn.graph.knn`.

    Shape:
        labels: (B·S, C).
        patches: (M, C), the patches of B clips.
        returns: labels (B·S, C) and the Neighbors they gathered from, index (B·S, K) into the rows of ``patches``.
    """

    def __init__(self, channels: int, k: int = 9, drop_path: float = 0.1, backend: Backend = "auto") -> None:
        super().__init__()
        self.k = k
        self.backend = backend
        self.conv = MaxRelativeConv(channels, channels, reverse=True)
        self.drop_path = StochasticDepth(drop_path)
        self.feed_forward = FeedForward(channels, drop_path=drop_path)

    def forward(self, labels: Tensor, patches: Tensor, num_clips: int) -> tuple[Tensor, Neighbors]:
        """Update the labels of a batch from its patches."""
        with torch.no_grad():
            neighbors = knn(
                F.normalize(labels, dim=-1),
                F.normalize(patches, dim=-1),
                self.k,
                num_clips=num_clips,
                backend=self.backend,
            )
        labels = labels + self.drop_path(self.conv((patches, labels), neighbors), num_clips)
        return self.feed_forward(labels, num_clips), neighbors


class LabelLabelBlock(nn.Module):
    r"""Let labels support each other through a learned graph (LLG), dense over all pairs of labels.

    The published form :math:`L \leftarrow A L + L` has no bound while A is learned: through enough blocks it overflows
    16-bit numbers. The bounded form is

    .. math:: L \leftarrow \tfrac12 (L + \hat A L), \qquad \hat A = A / \max(1, \max_i \textstyle\sum_j |A_{ij}|).

    It cannot grow: every row of :math:`\hat A` has an absolute sum of at most 1, so for every channel
    :math:`|(\hat A L)_i| \le \sum_j |\hat A_{ij}|\,|L_j| \le \max_j |L_j|`, and the mean of two vectors within
    :math:`\max_j |L_j|` stays within it. Being linear, the map is non-expansive in the max norm, whatever A becomes.

    Args:
        num_classes: S.
        bounded: the bounded form; False for the published one.

    Shape:
        labels: (B·S, C).
        returns: (B·S, C).
    """

    def __init__(self, num_classes: int, bounded: bool = True) -> None:
        super().__init__()
        self.bounded = bounded
        self.weight = nn.Parameter(torch.empty(num_classes, num_classes).uniform_(-1, 1) / num_classes**0.5)

    def forward(self, labels: Tensor) -> Tensor:
        """Update the labels of a batch from each other."""
        x = labels.view(-1, self.weight.size(0), labels.size(1))
        if self.bounded:
            row_sum = self.weight.abs().sum(dim=1).amax()
            x = 0.5 * (x + torch.matmul(self.weight / row_sum.clamp(min=1), x))
        else:
            x = torch.matmul(self.weight, x) + x
        return x.view_as(labels)


class LabelProjection(nn.Sequential):
    """Bring the labels to the width of the next stage.

    Shape:
        labels: (B·S, C).
        returns: (B·S, D).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(Linear(in_channels, out_channels), nn.BatchNorm1d(out_channels))


class LabelGraphStage(nn.Module):
    """The label side of one stage (MLG): project the labels to its width, then PLG and LLG blocks on its patches.

    Runs in fp32, also inside autocast: S labels are few, and their stream must not overflow.

    Args:
        in_channels: width of the labels that come in; None for the first stage, which has no projection.
        channels: width C of the stage.
        num_classes: S.
        blocks: number of PLG + LLG blocks.
        k: patches that each label gathers from.
        bounded: the bounded LLG, see :class:`LabelLabelBlock`.
        plg: whether the blocks have a PLG part.
        llg: whether the blocks have an LLG part.
        backend: k-NN back end.

    Shape:
        labels: (B·S, C_in).
        patches: (M, C).
        returns: labels (B·S, C) and one Neighbors for each block with a PLG part.
    """

    def __init__(
        self,
        in_channels: int | None,
        channels: int,
        num_classes: int,
        blocks: int,
        k: int = 9,
        bounded: bool = True,
        plg: bool = True,
        llg: bool = True,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        self.project = LabelProjection(in_channels, channels) if in_channels is not None else nn.Identity()
        self.gather = nn.ModuleList(PatchLabelBlock(channels, k, backend=backend) for _ in range(blocks * plg))
        self.support = nn.ModuleList(LabelLabelBlock(num_classes, bounded) for _ in range(blocks * llg))
        self.blocks = blocks

    def forward(self, labels: Tensor, patches: Tensor, num_clips: int) -> tuple[Tensor, list[Neighbors]]:
        """Update the labels of a batch by one stage."""
        gathered = []
        with torch.autocast(labels.device.type, enabled=False):
            labels, patches = self.project(labels.float()), patches.float()
            for block in range(self.blocks):
                if self.gather:
                    labels, neighbors = self.gather[block](labels, patches, num_clips)
                    gathered.append(neighbors)
                if self.support:
                    labels = self.support[block](labels)
        return labels, gathered
