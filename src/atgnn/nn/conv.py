"""Graph convolutions on patches and labels, as PyG message passing with a fused path for K-regular graphs."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from atgnn.nn.dense import GroupedLinear
from atgnn.nn.graph import Neighbors
from atgnn.nn.lean import norm_gelu

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # PyG calls torch.jit.script while it is imported
    from torch_geometric.nn import MessagePassing

Nodes = Tensor | tuple[Tensor, Tensor]


class GraphConv(MessagePassing):
    """What the four convolutions share: one or two node sets in, either form of the graph, the check of widths.

    With :class:`~atgnn.nn.graph.Neighbors` a convolution gathers by K-regular reductions (``gather``); with an
    ``edge_index`` it goes through PyG's ``propagate``. Both give the same values and gradients.
    """

    def __init__(self, in_channels: int, out_channels: int, aggr: str) -> None:
        super().__init__(aggr=aggr)
        self.in_channels = in_channels
        self.out_channels = out_channels

    def forward(self, x: Nodes, neighbors: Neighbors | Tensor, layer: nn.Module | None = None) -> Tensor:
        """Gather from each node's neighbours and update it; ``layer`` comes after, in one step with φ where it can."""
        source, target = x if isinstance(x, tuple) else (x, x)
        if source.size(-1) != self.in_channels or target.size(-1) != self.in_channels:
            raise ValueError(
                f"expected nodes of width {self.in_channels}, got {source.size(-1)} (sources) "
                f"and {target.size(-1)} (targets)"
            )
        if isinstance(neighbors, Neighbors):
            gathered = self.gather(source, target, neighbors)
        else:
            gathered = self.propagate(neighbors, x=(source, target), size=(source.size(0), target.size(0)))
        return self.combine(target, gathered, layer)

    def gather(self, source: Tensor, target: Tensor, neighbors: Neighbors) -> Tensor:
        """Gather without edges: here, by way of the edges after all."""
        return self.propagate(neighbors.edge_index, x=(source, target), size=(source.size(0), target.size(0)))

    def combine(self, target: Tensor, gathered: Tensor, layer: nn.Module | None) -> Tensor:
        """Make the new nodes of the old ones and of what they gathered: here, the latter alone."""
        return then(None, gathered, layer)

    def extra_repr(self) -> str:
        """Show the widths."""
        return f"{self.in_channels}, {self.out_channels}"


class MLP(nn.Sequential):
    """φ of every convolution: a linear map in 4 groups, BatchNorm, GELU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(GroupedLinear(in_channels, out_channels), nn.BatchNorm1d(out_channels), nn.GELU())


def then(phi: nn.Module | None, x: Tensor, layer: nn.Module | None) -> Tensor:
    """φ of nodes, and a linear layer of that; in one step while training."""
    if isinstance(phi, MLP) and phi.training:
        before, norm, _ = phi
        return norm_gelu(before(x), norm, layer)
    mapped: Tensor = x if phi is None else phi(x)
    return mapped if layer is None else layer(mapped)


class MaxRelativeConv(GraphConv):
    r"""Mix each node with its most different neighbour, channel by channel.

    .. math:: x'_i = \phi\bigl(\mathrm{interleave}[x_i, \max_{j \in \mathcal{N}(i)} (x_j - x_i)]\bigr)

    Args:
        in_channels: width C of every input node.
        out_channels: width D of every output node.
        reverse: take :math:`\max_j (x_i - x_j)` instead, target minus source, as labels do with patches.

    Shape:
        x: (N, C), or a pair (M, C), (N, C) for edges from M sources to N targets.
        neighbors: Neighbors, or edge_index (2, E) with row 0 the source.
        returns: (N, D).

    Raises:
        ValueError: if the width of ``x`` is not ``in_channels``.

    Source: Li et al., "DeepGCNs", ICCV 2019; the interleaving is Vision GNN's (Han et al., NeurIPS 2022).
    """

    def __init__(self, in_channels: int, out_channels: int, reverse: bool = False) -> None:
        super().__init__(in_channels, out_channels, aggr="max")
        self.reverse = reverse
        self.nn = MLP(2 * in_channels, out_channels)

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        """Difference along each edge."""
        return x_i - x_j if self.reverse else x_j - x_i

    def gather(self, source: Tensor, target: Tensor, neighbors: Neighbors) -> Tensor:
        """Use that x_i is constant over j: max_j (x_j − x_i) = (max_j x_j) − x_i."""
        if self.reverse:
            return target - neighbors.gather_min(source)
        return neighbors.gather_max(source) - target

    def combine(self, target: Tensor, gathered: Tensor, layer: nn.Module | None) -> Tensor:
        """Alternate the channels of node and difference, which decides what shares a group of φ."""
        return then(self.nn, torch.stack((target, gathered), dim=1).transpose(1, 2).flatten(1), layer)


class EdgeConv(GraphConv):
    r"""Transform every edge and keep the strongest response, channel by channel.

    .. math:: x'_i = \max_{j \in \mathcal{N}(i)} \phi([x_i \,\Vert\, x_j - x_i])

    Args:
        in_channels: width C of every input node.
        out_channels: width D of every output node.

    Shape:
        x: (N, C), or a pair (M, C), (N, C) for edges from M sources to N targets.
        neighbors: Neighbors, or edge_index (2, E) with row 0 the source.
        returns: (N, D).

    Raises:
        ValueError: if the width of ``x`` is not ``in_channels``.

    Source: Wang et al., "Dynamic Graph CNN for Learning on Point Clouds", TOG 2019.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, aggr="max")
        self.nn = MLP(2 * in_channels, out_channels)

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        """φ along each edge."""
        return self.nn(torch.cat((x_i, x_j - x_i), dim=-1))

    def gather(self, source: Tensor, target: Tensor, neighbors: Neighbors) -> Tensor:
        """Gather extremes instead of edges, in eval mode; while training, BatchNorm needs the edges.

        Before GELU, φ is affine and a sum of a part of x_i and a part of x_j. GELU falls and then rises, so its
        largest value over a set is at the set's smallest or largest member: max_j GELU(z_j) = max(GELU(min_j z_j),
        GELU(max_j z_j)).
        """
        if self.training:
            return super().gather(source, target, neighbors)
        linear, norm, gelu = self.nn
        of_source = linear(torch.cat((torch.zeros_like(source), source), dim=-1)) - linear.bias
        of_target = linear(torch.cat((target, -target), dim=-1))
        largest = gelu(norm(of_target + neighbors.gather_max(of_source)))
        smallest = gelu(norm(of_target + neighbors.gather_min(of_source)))
        return torch.maximum(largest, smallest)


class GINConv(GraphConv):
    r"""Add up each node's neighbours.

    .. math:: x'_i = \phi\bigl((1 + \epsilon)\, x_i + \sum_{j \in \mathcal{N}(i)} x_j\bigr)

    Args:
        in_channels: width C of every input node.
        out_channels: width D of every output node.

    Shape:
        x: (N, C), or a pair (M, C), (N, C) for edges from M sources to N targets.
        neighbors: Neighbors, or edge_index (2, E) with row 0 the source.
        returns: (N, D).

    Raises:
        ValueError: if the width of ``x`` is not ``in_channels``.

    Source: Xu et al., "How Powerful are Graph Neural Networks?", ICLR 2019.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, aggr="sum")
        self.eps = nn.Parameter(torch.zeros(1))
        self.nn = MLP(in_channels, out_channels)

    def message(self, x_j: Tensor) -> Tensor:
        """The neighbour itself."""
        return x_j

    def gather(self, source: Tensor, target: Tensor, neighbors: Neighbors) -> Tensor:
        """Sum the neighbours without edges."""
        return neighbors.gather_sum(source)

    def combine(self, target: Tensor, gathered: Tensor, layer: nn.Module | None) -> Tensor:
        """φ of the weighted sum of node and neighbours."""
        return then(self.nn, (1 + self.eps) * target + gathered, layer)


class SAGEConv(GraphConv):
    r"""Transform the neighbours, keep the strongest response, and join it to the node.

    .. math:: x'_i = \phi_2([x_i \,\Vert\, \max_{j \in \mathcal{N}(i)} \phi_1(x_j)])

    Args:
        in_channels: width C of every input node.
        out_channels: width D of every output node.

    Shape:
        x: (N, C), or a pair (M, C), (N, C) for edges from M sources to N targets.
        neighbors: Neighbors, or edge_index (2, E) with row 0 the source.
        returns: (N, D).

    Raises:
        ValueError: if the width of ``x`` is not ``in_channels``.

    Source: Hamilton et al., "Inductive Representation Learning on Large Graphs", NeurIPS 2017.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, aggr="max")
        self.nn1 = MLP(in_channels, in_channels)
        self.nn2 = MLP(2 * in_channels, out_channels)

    def message(self, x_j: Tensor) -> Tensor:
        """φ₁ along each edge."""
        return self.nn1(x_j)

    def gather(self, source: Tensor, target: Tensor, neighbors: Neighbors) -> Tensor:
        """Transform each source once, in eval mode; while training, BatchNorm counts a source once an edge."""
        if self.training:
            return super().gather(source, target, neighbors)
        return neighbors.gather_max(self.nn1(source))

    def combine(self, target: Tensor, gathered: Tensor, layer: nn.Module | None) -> Tensor:
        """φ₂ of node and neighbours, side by side."""
        return then(self.nn2, torch.cat((target, gathered), dim=-1), layer)
