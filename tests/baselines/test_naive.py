"""The textbook form gives the published outputs too, so that costs are compared of the same network."""

import pytest
import torch
from tests.test_weights import needs_vectors, network, read

from atgnn.baselines.naive import NaiveNetwork


@needs_vectors
@pytest.mark.parametrize("name", ["pyramid_mr", "pyramid_mr_mlg", "isotropic_mr"])
@torch.inference_mode()
def test_outputs_match(name: str) -> None:
    settings, weights, expected = read(name)
    naive = NaiveNetwork(network(settings, weights), settings.get("k") or settings["k_first"], settings.get("k_plg", 9))
    logits = naive.eval()(expected["input"].transpose(1, 2).unsqueeze(1)).logits
    torch.testing.assert_close(logits, expected["logits"], atol=1e-4, rtol=1e-4)


@needs_vectors
def test_it_learns_as_many_numbers() -> None:
    settings, weights, _ = read("pyramid_mr_mlg")
    ours = network(settings, weights)
    naive = NaiveNetwork(ours, settings["k"], settings["k_plg"])
    count = [sum(p.numel() for p in module.parameters() if p.requires_grad) for module in (ours, naive)]
    assert count[0] == count[1]
