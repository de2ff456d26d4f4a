"""A short training run for tests that kill it: python train_once.py SHARDS FOLDER WORKERS [CKPT_PATH]."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from atgnn import ATGNN, ShardDataModule
from atgnn.checkpoint import WholeCheckpointIO


class KeyLog(L.Callback):
    """Append the keys of every batch that has been trained on."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not trainer.is_global_zero:
            return
        with self.path.open("a") as file:
            file.write(f"{trainer.current_epoch} {trainer.global_step} {' '.join(batch['key'])}\n")


class SignalInStep(L.Callback):
    """SLURM's signal comes when the gradients are there and the weights are not."""

    def on_before_optimizer_step(
        self, trainer: L.Trainer, module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if trainer.global_step == int(os.environ["IN_STEP"]):
            signal.raise_signal(signal.SIGUSR1)


def main(shards: str, folder: Path, workers: int, ckpt_path: str | None) -> None:
    torch.set_num_threads(1)
    L.seed_everything(0, verbose=False)
    data = ShardDataModule(shards, batch_size=2, crop_seconds=0.2, workers=workers, shuffle=7, balance=True, test=None)
    model = ATGNN(data.labels, variant="pyramid-nano", n_mels=32, clip_seconds=0.2, k=3, drop_path=0.3, warmup_steps=3)
    last = ModelCheckpoint(folder, filename="last", every_n_train_steps=3, save_on_exception=True,
                           enable_version_counter=False)  # fmt: skip
    callbacks = [KeyLog(folder / "keys.txt"), last, *([SignalInStep()] if "IN_STEP" in os.environ else [])]
    trainer = L.Trainer(
        accelerator="cpu", devices=int(os.environ.get("SLURM_NTASKS", "1")), max_epochs=3, logger=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=callbacks, plugins=[WholeCheckpointIO()],
        deterministic=True, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(model, data, ckpt_path=ckpt_path)
    torch.save(model.state_dict(), folder / "final.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else None)
