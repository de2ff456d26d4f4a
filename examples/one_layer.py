"""One layer of ATGNN in a plain PyG model: tell spheres, cubes and rings by their points.

python examples/one_layer.py
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GCNConv, global_max_pool

from atgnn.nn import MaxRelativeConv, knn

CLOUDS, POINTS = 24, 64


class Shapes(nn.Module):
    """A graph convolution of PyG and one of atgnn, on one k-NN graph."""

    def __init__(self) -> None:
        super().__init__()
        self.first = GCNConv(3, 32)
        self.second = MaxRelativeConv(32, 64)
        self.head = nn.Linear(64, 3)

    def forward(self, points: Tensor) -> Tensor:
        clouds = len(points)
        points = points.flatten(0, 1)
        neighbors = knn(points, points, k=8, num_clips=clouds)
        x = self.first(points, neighbors.edge_index).relu()
        x = self.second(x, neighbors)  # or neighbors.edge_index, as any PyG layer
        return self.head(global_max_pool(x, torch.arange(clouds).repeat_interleave(POINTS)))


def draw() -> tuple[Tensor, Tensor]:
    """Points (B, P, 3) on shapes, and which shape (B,) it is."""
    kind = torch.randint(3, (CLOUDS,))
    normal = torch.randn(CLOUDS, POINTS, 3)
    sphere = F.normalize(normal, dim=-1)
    cube = normal / normal.abs().amax(-1, keepdim=True)
    ring = F.normalize(normal * torch.tensor([1.0, 1.0, 0.0]), dim=-1) + 0.2 * sphere
    shapes = torch.stack((sphere, cube, ring))
    return shapes[kind, torch.arange(CLOUDS)], kind


def main() -> None:
    torch.manual_seed(0)
    model = Shapes()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(150):
        points, kind = draw()
        loss = F.cross_entropy(model(points), kind)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        correct = torch.cat([model.eval()(points).argmax(1) == kind for points, kind in (draw() for _ in range(20))])
    print(f"test/accuracy {correct.float().mean():.3f}")


if __name__ == "__main__":
    main()
