from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from atgnn.metrics import AveragePrecision, mean_average_precision


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
