from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GATv2Conv, Sequential, global_mean_pool

from atgnn.nn.conv import EdgeConv, GINConv, GraphConv, MaxRelativeConv, SAGEConv
from atgnn.nn.graph import Neighbors

CONVS = {
    "max-relative": MaxRelativeConv,
    "reverse": partial(MaxRelativeConv, reverse=True),
    "edge": EdgeConv,
    "gin": GINConv,
    "sage": SAGEConv,
}
every_conv = pytest.mark.parametrize("name", CONVS)
both_modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


def phi(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, groups=4), nn.BatchNorm2d(out_channels), nn.GELU())


class Naive(nn.Module):
    """The same rules on feature maps (1, C, N, K) that hold every edge, with 1×1 convolutions."""

    def __init__(self, name: str, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.name = name
        if name == "sage":
            self.nn1, self.nn2 = phi(in_channels, in_channels), phi(2 * in_channels, out_channels)
        else:
            self.nn = phi(in_channels if name == "gin" else 2 * in_channels, out_channels)
        if name == "gin":
            self.eps = nn.Parameter(torch.zeros(1))

    def forward(self, source: Tensor, target: Tensor, index: Tensor) -> Tensor:
        x = target.T[None, :, :, None]
        y = source[index].permute(2, 0, 1)[None]
        if self.name == "edge":
            out = self.nn(torch.cat((x.expand_as(y), y - x), dim=1)).amax(-1, keepdim=True)
        elif self.name == "gin":
            out = self.nn((1 + self.eps) * x + y.sum(-1, keepdim=True))
        elif self.name == "sage":
            out = self.nn2(torch.cat((x, self.nn1(y).amax(-1, keepdim=True)), dim=1))
        else:
            difference = x - y if self.name == "reverse" else y - x
            out = self.nn(torch.stack((x, difference.amax(-1, keepdim=True)), dim=2).flatten(1, 2))
        return out[0, :, :, 0].T


def make(name: str, training: bool, in_channels: int = 8, out_channels: int = 12) -> GraphConv:
    """A convolution with random weights of either sign and random statistics, in double precision."""
    conv = CONVS[name](in_channels, out_channels).double().train(training)
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.normal_()
        for key, buffer in conv.named_buffers():
            if key.endswith(("mean", "var")):
                buffer.uniform_(0.5, 2)
    return conv


def graph(sources: int, targets: int, k: int = 3) -> Neighbors:
    return Neighbors(torch.stack([torch.randperm(sources)[:k] for _ in range(targets)]), sources)


def step(conv: nn.Module, source: Tensor, target: Tensor, call: Callable[..., Tensor]) -> dict[str, Tensor]:
    """Everything that a training step leaves: output, gradients, running statistics."""
    source, target = source.clone().requires_grad_(), target.clone().requires_grad_()
    out = call(conv, source, target)
    (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
    gradients = {f"grad of {key}": p.grad.flatten() for key, p in conv.named_parameters()}
    return {
        "out": out,
        "grad of source": source.grad,
        "grad of target": target.grad,
        **gradients,
        **dict(conv.named_buffers()),
    }


@every_conv
@both_modes
def test_equals_1x1_convolutions_on_edge_maps(name: str, training: bool) -> None:
    conv, naive = make(name, training), Naive(name, 8, 12).double().train(training)
    naive.load_state_dict({key: value.view_as(naive.state_dict()[key]) for key, value in conv.state_dict().items()})
    source, target, neighbors = torch.randn(9, 8).double(), torch.randn(6, 8).double(), graph(9, 6)
    ours = step(conv, source, target, lambda f, x, y: f((x, y), neighbors))
    theirs = step(naive, source, target, lambda f, x, y: f(x, y, neighbors.index))
    torch.testing.assert_close(ours, theirs)


@every_conv
@both_modes
@pytest.mark.parametrize("dtype", [torch.float, torch.double])
def test_fused_path_equals_propagate(name: str, training: bool, dtype: torch.dtype) -> None:
    fused = make(name, training).to(dtype)
    unfused = copy.deepcopy(fused)
    source, target, neighbors = torch.randn(30, 8, dtype=dtype), torch.randn(20, 8, dtype=dtype), graph(30, 20)
    torch.testing.assert_close(
        step(fused, source, target, lambda f, x, y: f((x, y), neighbors)),
        step(unfused, source, target, lambda f, x, y: f((x, y), neighbors.edge_index)),
        atol=1e-5,
        rtol=1e-5 if dtype == torch.double else 1e-4,
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # x_i and the difference alternate: (x_0, m_0, x_1, m_1).
        ("max-relative", [[0, 2, 10, 40], [1, 1, 30, 20], [2, -1, 50, -20], [3, -2, 20, 10]]),
        ("reverse", [[0, -1, 10, -20], [1, 1, 30, 20], [2, 2, 50, 40], [3, 2, 20, -10]]),
        ("edge", [[0, 10, 2, 40], [1, 30, 1, 20], [2, 50, -1, -20], [3, 20, -2, 10]]),
        ("gin", [[3, 90], [3, 90], [3, 90], [5, 80]]),
        ("sage", [[0, 10, 2, 50], [1, 30, 2, 50], [2, 50, 1, 30], [3, 20, 1, 30]]),
    ],
)
@pytest.mark.parametrize("form", ["neighbors", "edge_index"])
def test_four_nodes_by_hand(name: str, expected: list[list[float]], form: str) -> None:
    conv = CONVS[name](4, 4)
    conv.in_channels = 2
    conv.nn = conv.nn1 = conv.nn2 = nn.Identity()
    x = torch.tensor([[0.0, 10], [1, 30], [2, 50], [3, 20]])
    neighbors = Neighbors(torch.tensor([[1, 2], [0, 2], [0, 1], [1, 1]]), 4)
    out = conv(x, neighbors if form == "neighbors" else neighbors.edge_index)
    assert out.tolist() == expected


@every_conv
@both_modes
def test_permuting_nodes_permutes_the_output(name: str, training: bool) -> None:
    conv, x, neighbors, order = make(name, training), torch.randn(10, 8).double(), graph(10, 10), torch.randperm(10)
    permuted = Neighbors(order.argsort()[neighbors.index[order]], 10)
    torch.testing.assert_close(conv(x[order], permuted), conv(x, neighbors)[order])


@every_conv
def test_wrong_width_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected nodes of width 8, got 8 \(sources\) and 4 \(targets\)"):
        CONVS[name](8, 12)((torch.zeros(5, 8), torch.zeros(5, 4)), graph(5, 5))


def test_pyg_layers_take_the_edge_index() -> None:
    neighbors, x = graph(9, 6), (torch.randn(9, 8), torch.randn(6, 8))
    out = GATv2Conv(8, 12, add_self_loops=False)(x, neighbors.edge_index)
    assert out.shape == (6, 12)
    assert out.isfinite().all()


@every_conv
def test_convolutions_run_in_a_plain_pyg_model(name: str) -> None:
    model = Sequential(
        "x, edge_index, batch",
        [
            (CONVS[name](8, 12), "x, edge_index -> x"),
            (GATv2Conv(12, 8), "x, edge_index -> x"),
            (CONVS[name](8, 4), "x, edge_index -> x"),
            (global_mean_pool, "x, batch -> x"),
        ],
    ).eval()
    # Nodes have one to four neighbours here: nothing asks for a K-regular graph.
    clips = [
        Data(x=torch.randn(n, 8), edge_index=torch.cat((torch.randint(n, (2, 2 * n)), torch.arange(n).repeat(2, 1)), 1))
        for n in (4, 7)
    ]
    batch = Batch.from_data_list(clips)
    together = model(batch.x, batch.edge_index, batch.batch)
    alone = [model(clip.x, clip.edge_index, torch.zeros(clip.num_nodes, dtype=torch.long)) for clip in clips]
    torch.testing.assert_close(together, torch.cat(alone))
