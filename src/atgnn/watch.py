"""Watching a training: what each label has learned, what is confused, and a spectrogram with its tags."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from matplotlib.figure import Figure
from torch import Tensor

from atgnn.inference.picture import tags_figure
from atgnn.pages import row
from atgnn.tagging import TaggingModule

Rows = list[tuple[Any, ...]]


class Watch(L.Callback):
    """Log the validation of every few epochs to the logger that the run names: W&B, TensorBoard, or files beside CSV.

    ``labels``: average precision of every label. ``confusions``: the pairs of which the second is heard most where only
    the first is, as :func:`confusions` has them. ``spectrogram``: the first clip and its tags over time.

    Args:
        every: epochs between; the last epoch is always logged.
        pairs: confusions that are kept.
    """

    def __init__(self, every: int = 5, pairs: int = 30) -> None:
        self.every, self.pairs = every, pairs
        self._scores: list[Tensor] = []
        self._targets: list[Tensor] = []
        self._clip: tuple[str, Tensor] | None = None

    def on_validation_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: int
    ) -> None:
        """Collect a batch, without the clips that only fill it up."""
        if self._due(trainer) and isinstance(outputs, Tensor):
            mask = batch["mask"]
            self._scores.append(outputs[mask].float().sigmoid().cpu())
            self._targets.append(batch["targets"][mask].cpu())
            if self._clip is None:
                self._clip = batch["key"][0], batch["waveform"][0, : int(batch["lengths"][0])].cpu()

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Log; the module forgets its metrics after this."""
        if not self._due(trainer) or not isinstance(module, TaggingModule) or self._clip is None:
            return
        precision = module.metrics.average_precision.compute().tolist()  # on every rank
        scores, targets, (key, waveform) = torch.cat(self._scores), torch.cat(self._targets), self._clip
        self._scores, self._targets, self._clip = [], [], None
        if trainer.is_global_zero:
            counts = targets.sum(0).int().tolist()
            labels: Rows = list(zip(module.labels, counts, precision, strict=True))
            pairs: Rows = confusions(module.labels, scores, targets)[: self.pairs]
            log_table(trainer, "labels", ("label", "clips", "AP"), labels)
            log_table(trainer, "confusions", ("label", "heard", "clips", "score"), pairs)
            log_figure(trainer, "spectrogram", tags_figure(module, waveform, key))

    def _due(self, trainer: L.Trainer) -> bool:
        done = trainer.current_epoch + 1
        return not trainer.sanity_checking and (done % self.every == 0 or done == trainer.max_epochs)


def confusions(labels: list[str], scores: Tensor, targets: Tensor) -> Rows:
    """Label a, label b, the clips with a and without b, and the mean score of b in these; the largest first.

    Shape:
        scores: (B, S), in 0 … 1.
        targets: (B, S), 0 or 1.
    """
    here, gone = targets.float(), 1 - targets.float()
    clips = here.T @ gone
    heard = here.T @ (gone * scores) / clips.clamp(min=1)
    order = heard.flatten().argsort(descending=True).tolist()
    places = (divmod(place, len(labels)) for place in order)
    return [(labels[a], labels[b], int(clips[a, b]), float(heard[a, b])) for a, b in places if clips[a, b] and a != b]


def log_table(trainer: L.Trainer, name: str, columns: tuple[str, ...], rows: Rows) -> None:
    """Log a table by what each logger can: as a table, as text, or as a CSV file."""
    for logger in cast(list[Any], trainer.loggers):
        experiment = logger.experiment
        if hasattr(logger, "log_table"):
            logger.log_table(f"val/{name}", columns=list(columns), data=[list(cells) for cells in rows])
        elif hasattr(experiment, "add_text"):
            lines = [columns, ["---"] * len(columns), *rows]
            experiment.add_text(f"val/{name}", "\n".join(map(row, lines)), trainer.global_step)
        elif logger.log_dir:
            with (Path(logger.log_dir) / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([columns, *rows])


def log_figure(trainer: L.Trainer, name: str, figure: Figure) -> None:
    """Log a figure by what each logger can: as an image, as a figure, or as a PNG file."""
    for logger in cast(list[Any], trainer.loggers):
        if hasattr(logger, "log_image"):
            from PIL import Image

            figure.savefig(path := Path(trainer.default_root_dir) / f"{name}.png")
            logger.log_image(f"val/{name}", [Image.open(path)])
        elif hasattr(logger.experiment, "add_figure"):
            logger.experiment.add_figure(f"val/{name}", figure, trainer.global_step)
        elif logger.log_dir:
            figure.savefig(Path(logger.log_dir) / f"{name}.png", dpi=110)
