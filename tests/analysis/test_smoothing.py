"""Over-smoothing: the measures on nodes known by hand, and the callback on networks of three kinds."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from atgnn.analysis.smoothing import (
    Smoothing,
    dirichlet_energy,
    effective_rank,
    mean_average_distance,
    nodes_of,
)
from atgnn.baselines.cnn import CNN
from atgnn.module import ATGNN
from atgnn.tagging import TaggingModule

SQUARE = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]])


def test_nodes_that_are_the_same_have_no_energy_no_distance_and_one_direction() -> None:
    x = torch.randn(2, 1, 8).expand(2, 5, 8)
    torch.testing.assert_close(dirichlet_energy(x), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(mean_average_distance(x), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(effective_rank(x), torch.ones(2), atol=1e-3, rtol=0)


def test_a_square_by_hand() -> None:
    assert dirichlet_energy(SQUARE).tolist() == [2]
    assert mean_average_distance(SQUARE).item() == pytest.approx((1 + 2 + 1) / 3)
    assert effective_rank(SQUARE).item() == pytest.approx(2)
    assert effective_rank(SQUARE * torch.tensor([3.0, 1.0])).item() == pytest.approx(4 / 3**0.75)


def test_energy_and_distance_are_means_over_pairs() -> None:
    x = torch.randn(3, 6, 4)
    difference = (x.unsqueeze(2) - x.unsqueeze(1)).square().sum(-1)
    torch.testing.assert_close(dirichlet_energy(x), difference.mean((1, 2)) / x.square().sum(-1).mean(1))
    cosine = 1 - F.cosine_similarity(x.unsqueeze(2), x.unsqueeze(1), dim=-1)
    torch.testing.assert_close(mean_average_distance(x), cosine.sum((1, 2)) / 30)


def test_measures_do_not_depend_on_scale_and_survive_zeros() -> None:
    x = torch.randn(2, 7, 3)
    for measure in (dirichlet_energy, mean_average_distance, effective_rank):
        torch.testing.assert_close(measure(x), measure(100 * x))
        assert measure(torch.zeros(1, 4, 3)).isfinite().all()
        assert measure(torch.randn(1, 1, 3)).isfinite().all()


def test_nodes_of_maps_tokens_and_flat_nodes() -> None:
    x = torch.randn(2, 3, 4, 5)
    nodes = nodes_of(x, 2)
    assert torch.equal(nodes[1, 7], x[1, :, 1, 2])
    assert torch.equal(nodes_of((nodes,), 2), nodes)
    assert torch.equal(nodes_of(nodes.reshape(40, 3), 2), nodes)


class OneBatch(nn.Module):
    """A loader of one batch."""

    def __iter__(self):
        yield {
            "waveform": torch.randn(3, 8000), "lengths": torch.full((3,), 8000), "targets": torch.ones(3, 2),
            "mask": torch.ones(3, dtype=torch.bool), "key": ["a", "b", "c"],
        }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "blocks"),
    [
        (ATGNN(["a", "b"], "pyramid-nano", n_mels=32, clip_seconds=0.5), 5),
        (CNN(["a", "b"], "vgg", n_mels=32, clip_seconds=0.5), 4),
    ],
    ids=["atgnn", "vgg"],
)
def test_curves_are_logged_in_any_run(model: TaggingModule, blocks: int, tmp_path: Path) -> None:
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[Smoothing()], default_root_dir=tmp_path
    )
    trainer.validate(model, OneBatch(), verbose=False)
    logged = {key: float(value) for key, value in trainer.callback_metrics.items()}
    for name, top in (("energy", 2), ("distance", 2), ("rank", 1000)):
        values = [logged[f"val/{name}/{number:02d}"] for number in range(1, blocks + 1)]
        assert len(values) == sum(key.startswith(f"val/{name}/") for key in logged)
        assert all(0 < value < top for value in values)
    assert not any(module._forward_hooks for module in model.modules())
    trainer.test(model, OneBatch(), verbose=False)
    assert f"test/rank/{blocks:02d}" in trainer.callback_metrics
