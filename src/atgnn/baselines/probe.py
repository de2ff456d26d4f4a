"""A linear probe on the mean log-mel of a clip: what can be told without hearing how a sound goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from atgnn.audio.frontend import LogMel
from atgnn.data.datamodule import ShardDataModule
from atgnn.scores import Scores

Clips = tuple[list[str], np.ndarray, np.ndarray]


def probe(
    shards: str,
    out: Path,
    *,
    train: str | list[str] = "train",
    test: str | list[str] = "test",
    crop_seconds: float = 10.24,
    sample_rate: int = 16000,
) -> None:
    """Fit a logistic regression per label to mean log-mels, and write its scores of the test clips.

    Args:
        shards: folder of shards.
        out: npz file to write, for `atgnn score`.
        train: split or splits to fit on.
        test: split or splits to score.
        crop_seconds: seconds of each clip that are heard, from its start.
        sample_rate: of the shards, in Hz.
    """
    frontend = LogMel(sample_rate)
    train_clips = mean_log_mels(shards, train, frontend, crop_seconds)
    test_clips = mean_log_mels(shards, test, frontend, crop_seconds)
    labels = ShardDataModule(shards, test=test, sample_rate=sample_rate).labels
    fit_probe(train_clips, test_clips, labels).save(out)


def mean_log_mels(shards: str, splits: str | list[str], frontend: LogMel, crop_seconds: float) -> Clips:
    """Keys, mean log-mels (B, F) over the frames inside each clip, and targets (B, S) of the clips of some splits."""
    data = ShardDataModule(
        shards, test=splits, crop_seconds=crop_seconds, sample_rate=frontend.sample_rate, batch_size=16
    )
    data.setup("test")
    keys: list[str] = []
    means, targets = [], []
    for batch in track(
        data.test_dataloader(), description=f"log-mels of {splits if isinstance(splits, str) else ', '.join(splits)}"
    ):
        log_mel = frontend(batch["waveform"], batch["lengths"]).squeeze(1)
        inside = (log_mel != 0).any(dim=1, keepdim=True)
        mean = (log_mel * inside).sum(-1) / inside.sum(-1).clamp(min=1)
        mask = batch["mask"]
        keys += [key for key, real in zip(batch["key"], mask.tolist(), strict=True) if real]
        means.append(mean[mask])
        targets.append(batch["targets"][mask])
    return keys, torch.cat(means).numpy(), torch.cat(targets).numpy()


def fit_probe(train: Clips, test: Clips, labels: list[str]) -> Scores:
    """Fit to the train clips and score the test clips."""
    _, x, y = train
    model = make_pipeline(
        StandardScaler(), OneVsRestClassifier(LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000))
    )
    model.fit(x, y.astype(int))
    keys, x_test, y_test = test
    return Scores(keys, labels, model.predict_proba(x_test), y_test, {"protocol": "first", "scale": "probabilities"})
