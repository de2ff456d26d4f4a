"""How far mAP would differ on other clips of the same kind, by resampling the clips of a test."""

from __future__ import annotations

import numpy as np

from atgnn.errors import InputError


def mean_average_precision_interval(
    scores: np.ndarray, targets: np.ndarray, resamples: int = 500, seed: int = 0
) -> tuple[float, float]:
    r"""95 % interval of macro mAP: what other draws of as many clips would give this model.

    .. math:: \mathrm{mAP} \pm 1.96\, \sigma

    with σ the standard deviation over resamples of the clips. Their percentiles would lie too high: a rare positive
    that is drawn twice ties with itself, which only raises its precision, and one in three is not drawn at all.

    Args:
        scores: of B clips.
        targets: 0 or 1; labels without a positive are left out.
        resamples: how often as many clips are drawn, with replacement.
        seed: of the draws.

    Shape:
        scores: (B, S).
        targets: (B, S).

    Raises:
        InputError: if there are fewer than two resamples.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    mean, *resampled = resampled_mean_average_precision(scores, targets, resamples, seed)
    reach = 1.96 * np.std(resampled, ddof=1)
    return float(max(0, mean - reach)), float(min(1, mean + reach))


def resampled_mean_average_precision(
    scores: np.ndarray, targets: np.ndarray, resamples: int = 500, seed: int = 0
) -> np.ndarray:
    """Macro mAP of the clips as they are, and of each resample of them; the same seed draws the same clips.

    Args:
        scores: of B clips.
        targets: 0 or 1; labels without a positive are left out.
        resamples: R, how often as many clips are drawn, with replacement.
        seed: of the draws.

    Shape:
        scores: (B, S).
        targets: (B, S).
        returns: (1 + R,).

    Raises:
        InputError: if there are fewer than two resamples.
    """
    if resamples < 2:
        raise InputError(f"expected at least 2 resamples, got {resamples}; 500 give a steady interval")
    clips = len(scores)
    draws = np.random.default_rng(seed).multinomial(clips, np.full(clips, 1 / clips), size=resamples)
    counts = np.column_stack((np.ones(clips), draws.T)).astype(np.int32)  # the clips as they are, then the resamples
    with np.errstate(invalid="ignore"):
        found = [
            _average_precision(score, target > 0, counts)
            for score, target in zip(scores.T, targets.T, strict=True)
            if target.any()
        ]
    mean: np.ndarray = np.nanmean(found, axis=0)
    return mean


def _average_precision(score: np.ndarray, positive: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Average precision of a label (B,) for each of R sets of clips, given how often each has each clip (B, R)."""
    order = np.argsort(-score)
    fall, rows = -score[order], np.flatnonzero(positive[order])
    drawn = counts[order]
    hits = drawn[rows]
    # At each positive, everything with its score or more: clips that tie count together.
    above = drawn.cumsum(0, dtype=np.int32)[np.searchsorted(fall, fall[rows], side="right") - 1]
    right = hits.cumsum(0, dtype=np.int32)[np.searchsorted(fall[rows], fall[rows], side="right") - 1]
    return (hits * (right / np.maximum(above, 1))).sum(0) / hits.sum(0)  # NaN where no positive is drawn
