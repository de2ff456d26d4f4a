"""Quality of a feature space: purity by hand, clusters that are and are not there, a whole network."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from atgnn.analysis.quality import clusters, feature_space, purity, rank_correlation
from atgnn.analysis.truth import KnownScene
from atgnn.module import ATGNN
from atgnn.nn.graph import Neighbors

# Two patches of event 0, two of event 1, one of none.
EVENT = torch.tensor([0, 0, 1, 1, -1])


def test_purity_by_hand() -> None:
    # Links to oneself and to and from the last patch do not count: of 0→1, 1→2, 2→3, 3→2 one of four goes astray.
    graph = Neighbors(torch.tensor([[0, 1], [1, 2], [2, 3], [2, 4], [0, 1]]), 5)
    same, chance, edges = purity(graph, EVENT, EVENT, torch.arange(5))
    assert (same, edges) == (0.75, 2)
    assert chance == pytest.approx(1 / 3)
    again = purity(graph.edge_index, EVENT, EVENT, torch.arange(5))
    assert again == (same, chance, edges)


def test_purity_over_pooled_sources() -> None:
    # Patches 0 and 1 lie in cell 0, 2 and 3 in cell 1, the last in cell 2, which belongs to event 0.
    graph = Neighbors(torch.tensor([[0, 2], [1, 2], [1, 2], [0, 2], [0, 1]]), 3)
    same, chance, _ = purity(graph, EVENT, torch.tensor([0, 1, 0]), torch.tensor([0, 0, 1, 1, 2]))
    assert same == pytest.approx(2 / 6)  # 0→2 and 1→2; not 1→1, 2→2, 3→0 and 3→2; 0→0 and 2→1 are the own cells
    assert chance == pytest.approx(2 / 8)


def test_clusters_that_are_events() -> None:
    event = torch.tensor([0] * 10 + [1] * 10 + [-1] * 5)
    x = torch.eye(3)[event.clamp(min=0)] + 0.01 * torch.randn(25, 3)
    measures = clusters(100 * x, event)  # lengths do not matter
    assert measures["silhouette"] > 0.95
    assert measures["nmi"] == pytest.approx(1)
    assert clusters(torch.randn(25, 3), event)["nmi"] < 0.4


def test_one_event_has_no_clusters() -> None:
    assert clusters(torch.randn(6, 3), torch.tensor([0, 0, 0, -1, -1, -1])) == {}
    assert clusters(torch.randn(2, 3), torch.tensor([0, 1])) == {}


@pytest.mark.parametrize("graph", [None, "VisibilityGraph", "RandomGraph"])
def test_feature_space_of_a_network(graph: str | None) -> None:
    spec = {"class_path": f"atgnn.nn.construct.{graph}"} if graph else None
    model = ATGNN(["a", "b"], "pyramid-nano", n_mels=32, clip_seconds=0.5, graph=spec, k=3).eval()
    power = torch.zeros(2, 32, 50)
    power[0, :, :25], power[1, :, 25:] = 1, 1
    scene = KnownScene(torch.randn(1, 1, 32, 50), power, [])
    measures = feature_space(model, [scene, scene])
    for stage in range(1, 5):
        assert 0 <= measures[f"purity/{stage}"] <= 1
        assert measures[f"edges/{stage}"] > 1
    # The third grid is 2 × 4: of the 7 others, 3 are of a patch's own event.
    assert measures["purity_by_chance/3"] == pytest.approx(3 / 7)
    assert {"silhouette/before/1", "nmi/after/2"} <= measures.keys()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_rank_correlation() -> None:
    assert rank_correlation(np.array([1.0, 2, 3]), np.array([10.0, 20, 900])) == pytest.approx(1)
    assert math.isnan(rank_correlation(np.array([1.0, 1, 1]), np.array([1.0, 2, 3])))
