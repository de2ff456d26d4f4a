"""Grounding: attention and relevance by hand, and removal curves of a network that hears one corner."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from atgnn.analysis.grounding import FRACTIONS, attention, grounding, relevance, removal_curves
from atgnn.analysis.truth import KnownScene
from atgnn.module import ATGNN
from atgnn.network import TaggingOutput
from atgnn.nn.graph import Neighbors


def test_attention_by_hand() -> None:
    blocks = [Neighbors(torch.tensor([[9, 9], [0, 3]]), 4), Neighbors(torch.tensor([[9, 9], [2, 1]]), 4)]
    on_event = torch.tensor([True, True, False, False])
    assert attention(blocks, 1, on_event) == {"share": 0.5, "share_by_chance": 0.5, "pointing": 0.5}


def test_relevance_adds_up_stages_patch_over_patch() -> None:
    # Stage 1 is 2×3; stage 2, 1×2, lies over it: its second patch covers the last column alone.
    first, second = [Neighbors(torch.tensor([[0, 1]]), 6)], [Neighbors(torch.tensor([[1]]), 2)] * 2
    grids = [torch.Size((2, 3)), torch.Size((1, 2))]
    assert relevance(grids, (first, second), 0).tolist() == [1, 1, 2, 0, 0, 2]


class Corner(nn.Module):
    """A network whose first label is the mean of the first patch, which removed patches do not have."""

    def forward(self, log_mel: Tensor) -> TaggingOutput:
        return TaggingOutput(torch.stack((log_mel[:, 0, :4, :4].mean((1, 2)), log_mel.mean((1, 2, 3))), 1))


def test_removal_curves_follow_their_order() -> None:
    frontend = SimpleNamespace(mean=2.0, normalize=lambda x: x - 2)
    model = SimpleNamespace(network=Corner(), tagger=SimpleNamespace(frontend=frontend))
    order = {"first": torch.tensor([3.0, 0, 2, 1, 0.5]), "last": torch.tensor([0.0, 3, 2, 1, 4])}
    curves = removal_curves(model, torch.full((1, 1, 4, 18), 8.0), 0, order, patch=4)
    on, off = torch.tensor(6.0).sigmoid().item(), 0.5
    expected = {"deletion/first": [on] + [off] * 6, "insertion/first": [off] + [on] * 6,
                "deletion/last": [on] * 6 + [off], "insertion/last": [off] * 6 + [on]}  # fmt: skip
    for name, values in expected.items():
        assert [curves[f"{name}/{fraction}"] for fraction in FRACTIONS] == pytest.approx(values)
    assert curves["deletion_area/first"] == pytest.approx(off + 0.1 * (on - off) / 2)
    assert curves["insertion_area/last"] == pytest.approx(off + 0.2 * (on - off) / 2)


def test_grounding_of_a_network() -> None:
    model = ATGNN(["a", "b"], "pyramid-nano", n_mels=32, clip_seconds=0.5).eval()
    power = torch.zeros(2, 32, 50)
    power[0, :, :25], power[1, :, 25:] = 1, 1
    events = [{"labels": ["a"]}, {"labels": ["b", "unknown"]}]
    measures = grounding(model, [KnownScene(torch.randn(1, 1, 32, 50), power, events)])
    assert measures["share_by_chance/1"] == pytest.approx(0.5, abs=0.05)
    assert all(0 <= measures[f"{name}/{stage}"] <= 1 for name in ("share", "pointing") for stage in range(1, 5))
    assert measures["deletion/plg/0.0"] == pytest.approx(measures["insertion/plg/1.0"])
    assert measures["deletion/event/1.0"] == pytest.approx(measures["insertion/random/0.0"])
