"""Training in 16 bits does not blow up."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from atgnn.network import ATGNNNetwork


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16])
def test_two_hundred_steps_at_ten_times_the_learning_rate(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = ATGNNNetwork(50, "pyramid-nano", n_mels=32, n_frames=64)
    log_mel, targets = torch.randn(4, 1, 32, 64), torch.rand(4, 50).round()
    optimizer = torch.optim.Adam(network.parameters(), 5e-3, betas=(0.95, 0.999))
    scaler = torch.amp.GradScaler("cpu", enabled=dtype == torch.float16)
    losses, largest = [], 0.0
    for _ in range(200):
        with torch.autocast("cpu", dtype):
            output = network(log_mel)
        assert all(labels.isfinite().all() for labels in output.labels)
        loss = F.binary_cross_entropy_with_logits(output.logits, targets)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
        largest = max(largest, output.labels[-1].detach().abs().amax().item())
    assert all(loss < float("inf") for loss in losses)
    assert losses[-1] < 0.2 * losses[0]
    assert largest < torch.finfo(torch.float16).max
