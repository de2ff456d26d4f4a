"""The interval of mAP: of the right mAP, reproducible, and as often right as it says."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from atgnn.bootstrap import _average_precision, mean_average_precision_interval
from atgnn.errors import InputError


def draw(rng, clips, labels=4, share=0.3):
    targets = (rng.random((clips, labels)) < share).astype(np.uint8)
    return rng.standard_normal(targets.shape) + 1.2 * targets, targets


def mean_average_precision(scores, targets):
    some = [average_precision_score(t, s) for s, t in zip(scores.T, targets.T, strict=True) if t.any()]
    return np.mean(some)


@pytest.mark.parametrize("levels", [1, 2, 5, 1000])
@pytest.mark.parametrize("clips", [1, 2, 60])
def test_a_resample_scores_as_if_its_clips_were_there(levels, clips):
    rng = np.random.default_rng(levels)
    score, positive = rng.integers(levels, size=clips).astype(float), rng.random(clips) < 0.4
    counts = rng.integers(3, size=(clips, 5))
    with np.errstate(invalid="ignore"):
        found = _average_precision(score, positive, counts)
    for column, value in zip(counts.T, found, strict=True):
        drawn = np.repeat(np.arange(clips), column)
        if positive[drawn].any():
            assert value == pytest.approx(average_precision_score(positive[drawn], score[drawn]))
        else:
            assert np.isnan(value) or value == 0


def test_the_interval_is_around_the_mean_average_precision():
    scores, targets = draw(np.random.default_rng(0), 200)
    low, high = mean_average_precision_interval(scores, targets, 200)
    assert (low + high) / 2 == pytest.approx(mean_average_precision(scores, targets))
    assert 0.02 < high - low < 0.2


def test_the_same_seed_gives_the_same_interval():
    scores, targets = draw(np.random.default_rng(0), 100)
    first = mean_average_precision_interval(scores, targets, 50)
    assert mean_average_precision_interval(scores, targets, 50) == first
    assert mean_average_precision_interval(scores, targets, 50, seed=1) != first


def test_it_covers_what_other_clips_give():
    rng = np.random.default_rng(0)
    expected = np.mean([mean_average_precision(*draw(rng, 150)) for _ in range(200)])
    ends = [mean_average_precision_interval(*draw(rng, 150), 100) for _ in range(100)]
    assert 88 <= sum(low <= expected <= high for low, high in ends) <= 100


def test_labels_without_a_positive_are_left_out():
    scores, targets = draw(np.random.default_rng(0), 80)
    more = np.column_stack((scores, scores[:, 0])), np.column_stack((targets, np.zeros(80)))
    assert mean_average_precision_interval(*more, 50) == mean_average_precision_interval(scores, targets, 50)


def test_what_cannot_vary_has_no_width():
    assert mean_average_precision_interval(np.array([[0.3, 0.2]]), np.array([[1, 0]]), 20) == (1, 1)
    assert mean_average_precision_interval(np.arange(18.0).reshape(9, 2), np.ones((9, 2)), 20) == (1, 1)


def test_one_resample_is_refused():
    with pytest.raises(InputError, match="expected at least 2 resamples, got 1"):
        mean_average_precision_interval(np.zeros((3, 1)), np.ones((3, 1)), 1)
