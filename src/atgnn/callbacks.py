"""Lightning callbacks: keep the scores of a test or prediction, so that they can be pooled and compared later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from atgnn.errors import InputError
from atgnn.provenance import provenance
from atgnn.scores import Scores


class ScoreWriter(L.Callback):
    """Write the scores and targets of every clip beside the checkpoint they come from.

    A test writes logits to ``scores.npz``, a prediction probabilities to ``predictions.npz``. With several processes
    each writes its own clips, to ``scores-<rank>.npz``; ``atgnn score`` pools them.
    """

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._scores: list[Tensor] = []
        self._targets: list[Tensor] = []

    def on_test_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: int
    ) -> None:
        """Collect a batch, without the clips that only fill it up."""
        mask = batch["mask"].cpu()
        self._keys += [key for key, real in zip(batch["key"], mask.tolist(), strict=True) if real]
        self._scores.append(outputs.detach().float().cpu()[mask])
        self._targets.append(batch["targets"].cpu()[mask])

    def on_test_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Write scores.npz."""
        self._write("scores.npz", "logits", trainer, module)

    def on_predict_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: int
    ) -> None:
        """Collect a batch, as in a test."""
        self.on_test_batch_end(trainer, module, outputs, batch, batch_idx)

    def on_predict_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Write predictions.npz."""
        self._write("predictions.npz", "probabilities", trainer, module)

    def _write(self, filename: str, scale: str, trainer: L.Trainer, module: L.LightningModule) -> None:
        checkpoint = trainer.ckpt_path
        path = (Path(checkpoint).parent if checkpoint else Path(trainer.log_dir or trainer.default_root_dir)) / filename
        if trainer.world_size > 1:
            path = path.with_stem(f"{path.stem}-{trainer.global_rank}")
        labels: list[str] = list(module.labels)  # type: ignore[arg-type]
        scores, targets = torch.cat(self._scores).numpy(), torch.cat(self._targets).numpy()
        about = {name: value for name, value in getattr(module, "about", {}).items() if name != "labels"}
        about |= {"protocol": getattr(module, "protocol", "first"), "scale": scale}
        Scores(self._keys, labels, scores, targets, about).save(path)
        self._keys, self._scores, self._targets = [], [], []


def keep_scores(
    trainer: L.Trainer, module: L.LightningModule, data: L.LightningDataModule, path: Path, config: Any
) -> None:
    """Test what a training run kept, its best weights or else its last, and write scores that say how they came to be.

    Args:
        trainer: of the run; its callbacks hold a :class:`ScoreWriter`.
        module: what it trained.
        data: with a test split.
        path: the npz file to write.
        config: of the run, with ``seed_everything`` and ``settings``.

    Raises:
        InputError: if the run keeps no checkpoint or writes no scores.
    """
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    keepers = [callback for callback in callbacks if isinstance(callback, ModelCheckpoint)]
    kept = next((path for keeper in keepers for path in (keeper.best_model_path, keeper.last_model_path) if path), None)
    if kept is None or not any(isinstance(callback, ScoreWriter) for callback in callbacks):
        raise InputError("expected a ModelCheckpoint and a ScoreWriter for --scores, got none; add both callbacks")
    trainer.test(module, data, ckpt_path=kept, verbose=False)
    scores = Scores.load(Path(kept).parent / "scores.npz")
    measures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    scores.about |= {"settings": config.settings or {}, "seed": config.seed_everything, "measures": measures}
    scores.about |= provenance()
    scores.save(path)
