from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from scipy.stats import norm
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score, roc_auc_score
from torch import Tensor

from atgnn.metrics import (
    ROCAUC,
    AveragePrecision,
    TaggingMetrics,
    d_prime,
    label_ranking_precision,
    mean_average_precision,
)


def reference(scores: Tensor, targets: Tensor) -> Tensor:
    """scikit-learn's, label by label."""
    return torch.tensor(
        [
            average_precision_score(target, score) if target.any() else np.nan
            for score, target in zip(scores.T.numpy(), targets.T.numpy(), strict=True)
        ],
        dtype=torch.float32,
    )


def compute(scores: Tensor, targets: Tensor, batch: int = 1000, mask: Tensor | None = None) -> Tensor:
    metric = AveragePrecision(scores.size(1))
    masks = [None] * len(scores) if mask is None else mask.split(batch)
    for score, target, inside in zip(scores.split(batch), targets.split(batch), masks, strict=False):
        metric.update(score, target, inside)
    return metric.compute()


def assert_equal(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0, equal_nan=True)


@pytest.mark.parametrize("batch", [1, 7, 100])
@pytest.mark.parametrize("frequency", [0.5, 0.1, 0.01])
def test_random_scores_give_what_scikit_learn_gives(batch: int, frequency: float) -> None:
    scores, targets = torch.randn(100, 8), (torch.rand(100, 8) < frequency).float()
    assert_equal(compute(scores, targets, batch), reference(scores, targets))


@pytest.mark.parametrize("levels", [1, 2, 5])
def test_ties_count_as_in_scikit_learn(levels: int) -> None:
    scores, targets = torch.randint(levels, (60, 6)).float(), (torch.rand(60, 6) < 0.3).float()
    assert_equal(compute(scores, targets, 16), reference(scores, targets))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 100.0])
def test_scores_may_be_of_any_scale(scale: float) -> None:
    scores, targets = scale * torch.randn(80, 4) - scale, (torch.rand(80, 4) < 0.3).float()
    assert_equal(compute(scores, targets), reference(scores, targets))


def test_logits_and_probabilities_rank_alike() -> None:
    logits, targets = torch.randn(80, 4) - 10, (torch.rand(80, 4) < 0.3).float()
    assert_equal(compute(logits, targets), compute(logits.sigmoid(), targets))


def test_four_clips_by_hand() -> None:
    # Ranked: positive, negative, positive, negative. Precision at the positives: 1/1 and 2/3.
    scores = torch.tensor([[3.0, 0], [2, 1], [1, 2], [0, 3]])
    targets = torch.tensor([[1.0, 1], [0, 0], [1, 1], [0, 0]])
    assert_equal(compute(scores, targets), torch.tensor([(1 + 2 / 3) / 2, (1 / 2 + 2 / 4) / 2]))


def test_labels_without_a_clip_have_none_and_leave_the_mean() -> None:
    scores = torch.tensor([[0.9, 0.1, 0.5], [0.1, 0.9, 0.5]])
    targets = torch.tensor([[1.0, 0, 0], [0, 0, 1]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        precision = compute(scores, targets)
    assert_equal(precision, torch.tensor([1.0, torch.nan, 0.5]))
    assert mean_average_precision(precision).item() == pytest.approx(0.75)
    assert mean_average_precision(compute(scores, torch.zeros(2, 3))).isnan()


def test_labels_that_every_clip_has_are_perfect() -> None:
    assert_equal(compute(torch.randn(5, 2), torch.ones(5, 2)), torch.ones(2))


@pytest.mark.parametrize("batch", [1, 8, 50])
def test_masked_clips_do_not_count(batch: int) -> None:
    scores, targets, mask = torch.randn(50, 4), (torch.rand(50, 4) < 0.4).float(), torch.rand(50) < 0.5
    assert_equal(compute(scores, targets, batch, mask), reference(scores[mask], targets[mask]))


def test_reset_forgets() -> None:
    metric, targets = AveragePrecision(2), torch.tensor([[1.0, 0], [0, 1]])
    metric.update(torch.randn(2, 2), 1 - targets)
    metric.reset()
    metric.update(targets, targets)
    assert_equal(metric.compute(), torch.ones(2))


def test_half_precision_scores_are_taken() -> None:
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert_equal(compute((2 * targets - 1).bfloat16(), targets), torch.ones(2))


def areas(scores: Tensor, targets: Tensor) -> Tensor:
    """scikit-learn's, label by label."""
    return torch.tensor(
        [
            roc_auc_score(target, score) if 0 < target.sum() < len(target) else np.nan
            for score, target in zip(scores.T.numpy(), targets.T.numpy(), strict=True)
        ],
        dtype=torch.float32,
    )


def ranking(scores: Tensor, targets: Tensor) -> float:
    """scikit-learn's label-ranking average precision, every clip weighted by its number of labels."""
    return label_ranking_average_precision_score(targets, scores, sample_weight=targets.sum(1).numpy())


@pytest.mark.parametrize("levels", [1, 2, 5, 1000])
@pytest.mark.parametrize("frequency", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("clips", [1, 60])
def test_areas_and_rankings_are_those_of_scikit_learn(levels: int, frequency: float, clips: int) -> None:
    scores, targets = torch.randint(levels, (clips, 6)) - levels / 2, (torch.rand(clips, 6) < frequency).float()
    metric = ROCAUC(6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metric.update(scores, targets)
        assert_equal(metric.compute(), areas(scores, targets))
    if targets.any():
        assert label_ranking_precision(scores, targets).mean().item() == pytest.approx(ranking(scores, targets))
    else:
        assert len(label_ranking_precision(scores, targets)) == 0


def test_a_clip_by_hand() -> None:
    # Ranked: positive, negative, then a positive that ties with a negative and is ranked after it.
    precision = label_ranking_precision(torch.tensor([[4.0, 3, 2, 2]]), torch.tensor([[1.0, 0, 0, 1]]))
    assert precision.tolist() == [1 / 1, 2 / 4]


@pytest.mark.parametrize("area", [0.0, 0.5, 0.97, 1.0])
def test_d_prime_is_the_distance_of_two_normal_distributions(area: float) -> None:
    assert d_prime(torch.tensor(area)).item() == pytest.approx(2**0.5 * norm.ppf(np.float32(area)))


def clips() -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(40, 5), (torch.rand(40, 5) < 0.4).float(), torch.rand(40) < 0.7


def expected_metrics(logits: Tensor, targets: Tensor, mask: Tensor) -> dict[str, float]:
    logits, targets = logits[mask], targets[mask]
    area = areas(logits, targets).nanmean().item()
    return {
        "loss": torch.nn.functional.binary_cross_entropy_with_logits(logits, targets).item(),
        "mAP": reference(logits, targets).nanmean().item(),
        "mAUC": area,
        "dprime": 2**0.5 * norm.ppf(area),
        "lwlrap": ranking(logits, targets),
    }


@pytest.mark.parametrize("batch", [1, 7, 40])
def test_metrics_of_an_epoch_are_over_all_clips_of_the_mask(batch: int) -> None:
    metrics, data = TaggingMetrics(5), clips()
    for part in zip(*(tensor.split(batch) for tensor in data), strict=True):
        metrics.update(*part)
    found = {name: value.item() for name, value in metrics.compute().items()}
    assert found == pytest.approx(expected_metrics(*data), rel=1e-4)
    metrics.reset()
    metrics.update(*clips())
    assert metrics.compute()["mAP"].item() != found["mAP"]


def _on_rank(rank: int, folder: str, data: tuple[Tensor, Tensor, Tensor]) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    metrics, (logits, targets, mask) = TaggingMetrics(5), data
    # The first process has all real clips; the second only clips that fill its batches up.
    for part in zip(logits.split(16), targets.split(16), mask.split(16), strict=True):
        metrics.update(part[0], part[1], part[2] & (rank == 0))
    torch.save({name: value.item() for name, value in metrics.compute().items()}, f"{folder}/{rank}.pt")


def test_processes_have_the_metrics_of_all_even_if_one_has_only_fillers(tmp_path: Path) -> None:
    data = clips()
    mp.start_processes(_on_rank, (str(tmp_path), data), nprocs=2, start_method="fork")
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt") == pytest.approx(expected_metrics(*data), rel=1e-4)
