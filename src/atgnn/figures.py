"""Figures of a test, beside chance and a second model: `atgnn score` tells them as a table, JSON and CSV."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from atgnn.bootstrap import mean_average_precision_interval
from atgnn.errors import InputError
from atgnn.metrics import d_prime
from atgnn.scores import Scores

#: Names of the figures of a whole test in JSON, and in the table.
MEASURES = {"mAP": "mean (mAP)", "interval": "  95 % interval", "mAUC": "mAUC", "dprime": "d′", "lwlrap": "lwlrap"}


def score(
    scores: list[Path],
    against: list[Path] | None = None,
    *,
    names: tuple[str, str] = ("model", "baseline"),
    title: str = "",
    json_file: Path | None = None,
    csv_file: Path | None = None,
    bootstrap: int = 500,
) -> None:
    """Print the average precision of every label and their mean, beside chance and beside a second model.

    Several files are pooled, as for the folds of a cross-validation: one average precision per label over all clips.
    Labels without a positive clip are left out of every mean, and counted.

    Args:
        scores: files that `atgnn test` or `atgnn probe` wrote.
        against: files of a second model on the same clips.
        names: what to call the two models.
        title: what was tested, for the table.
        json_file: write the figures there too.
        csv_file: write positives, average precision and ROC AUC of every label there, for the first model.
        bootstrap: how often the clips are resampled for the 95 % interval of mAP; 0 for no interval.
    """
    ours = Scores.load(*scores)
    theirs = Scores.load(*against) if against else None
    if theirs is not None and (sorted(theirs.keys) != sorted(ours.keys) or theirs.labels != ours.labels):
        raise InputError(
            f"expected both models scored on the same clips and labels, got {len(ours.keys)} clips and "
            f"{len(theirs.keys)} clips; test both on one split"
        )
    if not ours.targets.any():
        raise InputError(f"expected a clip with a label, got none of {len(ours.keys)}; there is nothing to score")
    models = ({names[1]: theirs} if theirs is not None else {}) | {names[0]: ours}
    precisions = {"chance": ours.chance()} | {name: model.average_precision() for name, model in models.items()}
    whole: dict[str, dict[str, Any]] = {"chance": {"mAP": _plain(np.nanmean(precisions["chance"]))}}
    whole |= {name: _measure(model, precisions[name], bootstrap) for name, model in models.items()}
    figures = {
        "title": title,
        "clips": len(ours.keys),
        "runs": len(scores),
        "protocol": " / ".join(dict.fromkeys(model.protocol for model in models.values())),
        **{
            measure: {name: values[measure] for name, values in whole.items() if measure in values}
            for measure in MEASURES
        },
        "resamples": bootstrap,
        "without_positive": int((ours.targets.sum(0) == 0).sum()),
        "about": ours.about,
        "labels": {
            label: {name: _plain(values[row]) for name, values in precisions.items()}
            for row, label in enumerate(ours.labels)
        },
    }
    Console().print(_table(figures, ours.targets.sum(0)))
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(figures, indent=1) + "\n")
    if csv_file is not None:
        csv_file.parent.mkdir(parents=True, exist_ok=True)
        _write_csv(csv_file, ours)


def _measure(scores: Scores, average_precision: np.ndarray, bootstrap: int) -> dict[str, Any]:
    mean_auc = torch.from_numpy(scores.roc_auc()).nanmean()
    measures: dict[str, Any] = {
        "mAP": _plain(np.nanmean(average_precision)),
        "mAUC": _plain(mean_auc),
        "dprime": _plain(d_prime(mean_auc)),
        "lwlrap": _plain(scores.lwlrap()),
    }
    if bootstrap:
        interval = mean_average_precision_interval(scores.scores, scores.targets, bootstrap)
        measures["interval"] = [_plain(end) for end in interval]
    return measures


def _table(figures: dict[str, Any], positives: np.ndarray) -> Table:
    caption = f"labels without a positive: {figures['without_positive']}"
    if figures["resamples"]:
        caption += f"; interval: mAP ± 1.96 standard deviations over {figures['resamples']} resamples of the clips"
    title = f"{figures['title'] or 'Average precision'} ({figures['clips']} clips, protocol: {figures['protocol']})"
    table = Table(title=title, caption=caption, show_footer=True)
    measures = [measure for measure in MEASURES if figures[measure]]
    table.add_column("label", footer="\n".join(MEASURES[measure] for measure in measures))
    table.add_column("clips", justify="right")
    for name in figures["mAP"]:
        footer = "\n".join(_text(figures[measure].get(name, "")) for measure in measures)
        table.add_column(name, justify="right", footer=footer)
    for (label, values), count in zip(figures["labels"].items(), positives, strict=True):
        table.add_row(label, str(int(count)), *map(_text, values.values()))
    return table


def _write_csv(path: Path, scores: Scores) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("label", "positives", "AP", "AUC"))
        columns = scores.targets.sum(0), scores.average_precision(), scores.roc_auc()
        for label, count, *values in zip(scores.labels, *columns, strict=True):
            writer.writerow((label, int(count), *("" if np.isnan(value) else f"{value:.6f}" for value in values)))


def _plain(value: Any) -> float | None:
    """A number as JSON has it: four digits, none where there is none."""
    return round(float(value), 4) if math.isfinite(value) else None


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " … ".join(map(_text, value))
    return value if isinstance(value, str) else "–" if value is None else f"{value:.3f}"
