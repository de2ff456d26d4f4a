"""Scores: what a model said of every clip of a test, kept in a file, pooled over folds and told as a table."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.metrics import average_precision_score

from atgnn.errors import InputError


@dataclass
class Scores:
    """Scores and targets of clips.

    Args:
        keys: names of the B clips.
        labels: names of the S labels.
        scores: (B, S), in 0 … 1.
        targets: (B, S), 0 or 1.
        about: how the model came to be, in plain values: parameters, steps, seconds, …
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
            InputError: if a file is absent or not of scores, or labels differ, or a clip is scored twice.
        """
        parts = [cls._load(Path(path)) for path in paths]
        first = parts[0]
        for path, part in zip(paths, parts, strict=True):
            if part.labels != first.labels:
                raise InputError(f"expected the labels of {paths[0]} in {path}, got others; pool runs of one label set")
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

    def average_precision(self) -> np.ndarray:
        """Average precision of each label (S,) over all clips; NaN for labels without a positive clip."""
        return np.array(
            [
                average_precision_score(target, score) if target.any() else np.nan
                for target, score in zip(self.targets.T, self.scores.T, strict=True)
            ]
        )

    def chance(self) -> np.ndarray:
        """What random scores get: the share of positive clips of each label (S,)."""
        share = self.targets.mean(axis=0)
        return np.where(share > 0, share, np.nan)


def score(
    scores: list[Path],
    against: list[Path] | None = None,
    *,
    names: tuple[str, str] = ("model", "baseline"),
    title: str = "",
    json_file: Path | None = None,
) -> None:
    """Print the average precision of every label and their mean, beside chance and beside a second model.

    Several files are pooled, as for the folds of a cross-validation: one average precision per label over all clips.

    Args:
        scores: files that `atgnn test` or `atgnn probe` wrote.
        against: files of a second model on the same clips.
        names: what to call the two models.
        title: what was tested, for the table.
        json_file: write the figures there too.
    """
    ours = Scores.load(*scores)
    theirs = Scores.load(*against) if against else None
    if theirs is not None and (sorted(theirs.keys) != sorted(ours.keys) or theirs.labels != ours.labels):
        raise InputError(
            f"expected both models scored on the same clips and labels, got {len(ours.keys)} clips and "
            f"{len(theirs.keys)} clips; test both on one split"
        )
    columns = {"chance": ours.chance(), names[0]: ours.average_precision()}
    if theirs is not None:
        columns = {"chance": ours.chance(), names[1]: theirs.average_precision(), names[0]: ours.average_precision()}
    means = {name: float(np.nanmean(values)) for name, values in columns.items()}

    table = Table(title=f"{title or 'Average precision'} ({len(ours.keys)} clips)", show_footer=True)
    table.add_column("label", footer="mean (mAP)")
    table.add_column("clips", justify="right")
    for name, mean in means.items():
        table.add_column(name, justify="right", footer=f"{mean:.3f}")
    for row, label in enumerate(ours.labels):
        cells = (f"{values[row]:.3f}" for values in columns.values())
        table.add_row(label, str(int(ours.targets[:, row].sum())), *cells)
    Console().print(table)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        per_label = {
            label: {name: round(float(values[row]), 4) for name, values in columns.items()}
            for row, label in enumerate(ours.labels)
        }
        figures = {
            "title": title,
            "clips": len(ours.keys),
            "runs": len(scores),
            "mAP": {name: round(mean, 4) for name, mean in means.items()},
            "about": ours.about,
            "labels": per_label,
        }
        json_file.write_text(json.dumps(figures, indent=1) + "\n")
