"""Scores: what a model said of every clip of a test, kept in a file, pooled over folds and measured."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from atgnn.errors import InputError
from atgnn.metrics import label_ranking_precision


@dataclass
class Scores:
    """Scores and targets of clips.

    Args:
        keys: names of the B clips.
        labels: names of the S labels.
        scores: (B, S), as ``about["scale"]`` says: logits, which do not tie as they near certainty, or probabilities.
        targets: (B, S), 0 or 1.
        about: how they came to be, in plain values: protocol and scale; of the model parameters, steps, seconds, …
    """

    keys: list[str]
    labels: list[str]
    scores: np.ndarray
    targets: np.ndarray
    about: dict[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Write an npz file."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            path,
            keys=np.array(self.keys, dtype=np.str_),
            labels=np.array(self.labels, dtype=np.str_),
            scores=self.scores.astype(np.float32),
            targets=self.targets.astype(np.uint8),
            about=np.array(json.dumps(self.about)),
        )

    @classmethod
    def load(cls, *paths: str | Path) -> Scores:
        """Read npz files and pool their clips, as for the folds of a cross-validation.

        Raises:
            InputError: if a file is absent or not of scores, or labels, protocol or scale differ, or a clip is scored
                twice.
        """
        parts = [cls._load(Path(path)) for path in paths]
        first = parts[0]
        for path, part in zip(paths, parts, strict=True):
            if part.labels != first.labels:
                raise InputError(f"expected the labels of {paths[0]} in {path}, got others; pool runs of one label set")
            if (part.protocol, part.scale) != (first.protocol, first.scale):
                raise InputError(
                    f"expected {first.scale} by protocol {first.protocol} as in {paths[0]}, got {part.scale} by "
                    f"{part.protocol} in {path}; pool runs that were tested alike"
                )
        pooled = cls(
            [key for part in parts for key in part.keys],
            first.labels,
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.targets for part in parts]),
            first.about | {"seconds": sum(part.about.get("seconds", 0.0) for part in parts)},
        )
        if len(set(pooled.keys)) < len(pooled.keys):
            twice = next(key for key in pooled.keys if pooled.keys.count(key) > 1)
            raise InputError(f"expected every clip once, got clip {twice!r} twice; pool runs on different clips")
        return pooled

    @classmethod
    def _load(cls, path: Path) -> Scores:
        try:
            with np.load(path, allow_pickle=False) as file:
                keys, labels = file["keys"].tolist(), file["labels"].tolist()
                return cls(keys, labels, file["scores"], file["targets"], json.loads(str(file["about"])))
        except FileNotFoundError:
            raise InputError(f"expected a file of scores at {path}, got none; `atgnn test` writes it") from None
        except (KeyError, ValueError, EOFError, BadZipFile) as error:
            raise InputError(f"expected scores written by `atgnn test` in {path}, got something else") from error

    def sorted(self) -> Scores:
        """The same scores in the order of their keys, so that runs can be paired clip by clip."""
        order = np.argsort(np.array(self.keys, dtype=np.str_))
        keys = [self.keys[i] for i in order]
        return Scores(keys, self.labels, self.scores[order], self.targets[order], self.about)

    @property
    def protocol(self) -> str:
        """What was scored of a clip: "first" or "windows"."""
        return self.about.get("protocol", "first")

    @property
    def scale(self) -> str:
        """Logits or probabilities."""
        return self.about.get("scale", "probabilities")

    def average_precision(self) -> np.ndarray:
        """Average precision of each label (S,) over all clips; NaN for labels without a positive clip."""
        return np.array(
            [
                average_precision_score(target, score) if target.any() else np.nan
                for target, score in zip(self.targets.T, self.scores.T, strict=True)
            ]
        )

    def roc_auc(self) -> np.ndarray:
        """Area under the ROC curve of each label (S,); NaN for labels that no clip or every clip has."""
        return np.array(
            [
                roc_auc_score(target, score) if 0 < target.sum() < len(target) else np.nan
                for target, score in zip(self.targets.T, self.scores.T, strict=True)
            ]
        )

    def lwlrap(self) -> float:
        """Label-weighted label-ranking average precision: of every positive, its precision among the labels."""
        return float(
            label_ranking_precision(torch.from_numpy(self.scores), torch.from_numpy(self.targets)).double().mean()
        )

    def chance(self) -> np.ndarray:
        """What random scores get: the share of positive clips of each label (S,)."""
        share = self.targets.mean(axis=0)
        return np.where(share > 0, share, np.nan)
