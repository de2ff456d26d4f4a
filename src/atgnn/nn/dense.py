"""Layers that treat every node alone: grouped linear maps, the feed-forward part, stochastic depth."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atgnn.nn.lean import norm_gelu
from atgnn.nn.linear import Linear, linear


class GroupedLinear(nn.Module):
    """Map nodes linearly in groups of channels: a 1×1 convolution with groups, on flat nodes.

    Args:
        in_channels: width C of the input.
        out_channels: width D of the output.
        groups: number of groups; output group g sees input group g alone.

    Shape:
        x: (N, C).
        returns: (N, D).

    Raises:
        ValueError: if a width is not a multiple of ``groups``.
    """

    def __init__(self, in_channels: int, out_channels: int, groups: int = 4) -> None:
        super().__init__()
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"expected widths that {groups} groups divide, got {in_channels} and {out_channels}")
        self.groups = groups
        self.weight = nn.Parameter(nn.init.kaiming_normal_(torch.empty(out_channels, in_channels // groups)))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C) to (N, D)."""
        parts = (part.chunk(self.groups, dim) for part, dim in ((x, 1), (self.weight, 0), (self.bias, 0)))
        return torch.cat([linear(*part) for part in zip(*parts, strict=True)], dim=1)


class StochasticDepth(nn.Module):
    """Leave a residual branch out for whole clips at random while training, and scale the rest up.

    Args:
        p: probability of leaving a clip's branch out.

    Shape:
        x: (N, C), the nodes of ``num_clips`` clips of equal length.
        returns: (N, C).

    Raises:
        ValueError: if ``p`` is not at least 0 and below 1.

    Source: Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"expected a probability of at least 0 and below 1, got {p}")
        self.p = p

    def forward(self, x: Tensor, num_clips: int) -> Tensor:
        """Drop the branch ``x`` clip by clip."""
        if not self.training or self.p == 0.0:
            return x
        keep = x.new_empty(num_clips, 1, 1).bernoulli_(1 - self.p).div_(1 - self.p)
        return (x.view(num_clips, -1, x.size(1)) * keep).view_as(x)

    def extra_repr(self) -> str:
        """Show p."""
        return f"p={self.p}"


class FeedForward(nn.Module):
    """Widen every node, bend it, narrow it again, and add it to the node: C → ratio·C → C.

    Args:
        channels: width C.
        ratio: how much wider the hidden layer is.
        drop_path: probability of stochastic depth on the branch.
        residual: add it to the node; False puts it in its place.

    Shape:
        x: (N, C), the nodes of ``num_clips`` clips.
        returns: (N, C).
    """

    def __init__(self, channels: int, ratio: int = 4, drop_path: float = 0.0, residual: bool = True) -> None:
        super().__init__()
        hidden = ratio * channels
        self.expand = nn.Sequential(Linear(channels, hidden), nn.BatchNorm1d(hidden), nn.GELU())
        self.project = nn.Sequential(Linear(hidden, channels), nn.BatchNorm1d(channels))
        self.drop_path = StochasticDepth(drop_path)
        self.residual = residual

    def forward(self, x: Tensor, num_clips: int) -> Tensor:
        """Transform (N, C) nodes."""
        if self.training:
            (before, norm, _), (layer, project_norm) = self.expand, self.project
            branch = project_norm(norm_gelu(x, norm, layer, before))
        else:
            branch = self.project(self.expand(x))
        branch = self.drop_path(branch, num_clips)
        return x + branch if self.residual else branch


def init_weights(module: nn.Module) -> None:
    """Draw the weights of linear maps and convolutions Kaiming-normal over their fan-in, with zero bias."""
    if isinstance(module, nn.Linear | nn.Conv2d | GroupedLinear):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
