"""Cost of a tagger: what can be counted by hand, and nothing is left changed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from atgnn.analysis.cost import cost
from atgnn.audio.frontend import LogMel
from atgnn.module import ATGNN
from atgnn.network import TaggingOutput
from atgnn.tagger import Tagger
from atgnn.tagging import TaggingModule


class Square(nn.Module):
    """Squares a log-mel times one weight: autograd keeps the log-mel, and the product, which it squares."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, log_mel: Tensor) -> TaggingOutput:
        return TaggingOutput((log_mel * self.weight).square().mean((1, 2, 3)).unsqueeze(1))


def test_memory_is_what_autograd_keeps() -> None:
    model = TaggingModule(Tagger(LogMel(n_mels=16), Square()), ["a"], clip_seconds=0.5)
    measures = cost(model, 1)
    assert measures["memory_mb"] == pytest.approx(2 * 16 * 50 * 4 / 1e6)
    assert (measures["parameters"], measures["edges"]) == (1, 0)


def test_edges_and_parameters_of_a_network() -> None:
    model = ATGNN(["a", "b"], "pyramid-nano", n_mels=32, clip_seconds=1.28, k=2).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    draw = torch.get_rng_state()
    measures = cost(model, 2)
    assert measures["edges"] == 2 * (8 * 32 + 4 * 16 + 2 * (2 * 8) + 1 * 4)
    assert measures["parameters"] == sum(p.numel() for p in model.parameters())
    assert measures["latency_ms"] > 0
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(draw, torch.get_rng_state())
    assert not any(module._forward_hooks for module in model.modules())
