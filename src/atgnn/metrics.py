"""How well clips are tagged, over a whole epoch and every process: average precision of each label, and its mean."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torchmetrics.classification import MultilabelAveragePrecision


class AveragePrecision(MultilabelAveragePrecision):
    """Average precision of each label over all clips seen since the last reset.

    A label without a positive clip has none: it is NaN here and left out of :func:`mean_average_precision`.

    Args:
        num_classes: S.

    Shape:
        scores: (B, S), logits or probabilities; only their order counts.
        targets: (B, S) in {0, 1}.
        mask: (B,), False for clips that fill up a batch and must not count.
        returns: (S,).
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_labels=num_classes, average="none", thresholds=None, validate_args=False)

    def update(self, scores: Tensor, targets: Tensor, mask: Tensor | None = None) -> None:
        """Add a batch."""
        if mask is not None:
            scores, targets = scores[mask], targets[mask]
        if scores.size(0):
            # Not by way of super().update: its sigmoid rounds scores to ties, and only their order counts.
            self.preds.append(scores.float())
            self.target.append((targets > 0.5).long())

    def compute(self) -> Tensor:  # type: ignore[override]
        """Average precision of each label."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*positive samples.*")
            precision = super().compute()
        positives = torch.cat([target.sum(0, keepdim=True) for target in _as_list(self.target)]).sum(0)
        return torch.where(positives > 0, precision, torch.nan)


def _as_list(state: list[Tensor] | Tensor) -> list[Tensor]:
    return state if isinstance(state, list) else [state]


def mean_average_precision(average_precision: Tensor) -> Tensor:
    """Mean over the labels that have a positive clip (macro mAP); NaN where none has.

    Shape:
        average_precision: (S,), NaN for labels without a positive.
        returns: scalar.
    """
    return average_precision.nanmean()
