"""How well clips are tagged, over a whole epoch and every process: by label, their means, and the ranking of labels."""

from __future__ import annotations

import math
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import (
    MultilabelAUROC,
    MultilabelAveragePrecision,
    MultilabelPrecisionRecallCurve,
)
from torchmetrics.utilities import dim_zero_cat


class _ByLabel(MultilabelPrecisionRecallCurve):
    """A curve's number for each label over all clips seen since the last reset; NaN where a label has none.

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
        # Not by way of super().update: its sigmoid rounds scores to ties, and only their order counts. A batch of
        # fillers is kept too, as (0, S): a process that has no other could not be gathered.
        self.preds.append(scores.float())
        self.target.append((targets > 0.5).long())

    def compute(self) -> Tensor:  # type: ignore[override]
        """The number of each label."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*(positive|negative) samples.*")
            numbers: Tensor = super().compute()  # type: ignore[assignment]
        return torch.where(self._defined(dim_zero_cat(self.target) > 0), numbers, torch.nan)

    def _defined(self, targets: Tensor) -> Tensor:
        return targets.any(0)


class AveragePrecision(_ByLabel, MultilabelAveragePrecision):
    """Average precision of each label; NaN where no clip is positive, and left out of the mean."""


class ROCAUC(_ByLabel, MultilabelAUROC):
    """Area under the ROC curve of each label; NaN where no clip or every clip is positive."""

    def _defined(self, targets: Tensor) -> Tensor:
        return targets.any(0) & ~targets.all(0)


def mean_average_precision(average_precision: Tensor) -> Tensor:
    """Mean over the labels that have a positive clip (macro mAP); NaN where none has.

    Shape:
        average_precision: (S,), NaN for labels without a positive.
        returns: scalar.
    """
    return average_precision.nanmean()


def d_prime(mean_auc: Tensor) -> Tensor:
    r"""How far apart two normal distributions of unit variance lie whose ROC curve has this area.

    .. math:: d' = \sqrt{2}\, \Phi^{-1}(\mathrm{mAUC})

    Source: Gemmeke et al., "Audio Set", ICASSP 2017.
    """
    return math.sqrt(2) * torch.special.ndtri(mean_auc.double())


def label_ranking_precision(scores: Tensor, targets: Tensor) -> Tensor:
    """Precision at each positive label when the labels of its clip are ranked by score; a tie is ranked last.

    The mean over all positives is lwlrap, the label-weighted label-ranking average precision.

    Shape:
        scores: (B, S).
        targets: (B, S) in {0, 1}, P positives in all.
        returns: (P,).

    Source: Fonseca et al., "Audio tagging with noisy labels and minimal supervision", DCASE 2019.
    """
    targets = targets > 0.5
    clip, label = targets.nonzero(as_tuple=True)
    above = scores[clip] >= scores[clip, label].unsqueeze(1)
    return (above & targets[clip]).sum(1) / above.sum(1)


class TaggingMetrics(nn.Module):
    """Loss, mAP, mAUC, d′ and lwlrap of an epoch.

    Args:
        num_classes: S.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.loss, self.ranking = MeanMetric(), MeanMetric()
        self.average_precision, self.auc = AveragePrecision(num_classes), ROCAUC(num_classes)

    def update(self, logits: Tensor, targets: Tensor, mask: Tensor) -> None:
        """Add a batch: logits (B, S), targets (B, S) and a mask (B,), False for clips that must not count."""
        logits, targets = logits[mask], targets[mask]
        self.loss.update(F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1))
        self.ranking.update(label_ranking_precision(logits, targets))
        self.average_precision.update(logits, targets)
        self.auc.update(logits, targets)

    def compute(self) -> dict[str, Tensor]:
        """Each by its name."""
        mean_auc = self.auc.compute().nanmean()
        return {
            "loss": self.loss.compute(),
            "mAP": mean_average_precision(self.average_precision.compute()),
            "mAUC": mean_auc,
            "dprime": d_prime(mean_auc).float(),
            "lwlrap": self.ranking.compute(),
        }

    def reset(self) -> None:
        """Forget what was seen."""
        for metric in (self.loss, self.ranking, self.average_precision, self.auc):
            metric.reset()
