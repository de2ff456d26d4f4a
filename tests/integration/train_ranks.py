"""Train, validate and test as one of some ranks, for tests that compare them with one process alone.

python train_ranks.py SHARDS OUT DEVICES ACCELERATOR, by itself or by torchrun: rank r writes OUT/<case>-<rank>.pt.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import nn

from atgnn import ATGNN, ShardDataModule
from atgnn.nn.patch import StochasticDepth

BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d)
CASES = {"mlg": {}, "plain": {"plg": False, "llg": False}}


class Frozen(L.Callback):
    """What must not be drawn or measured by each rank for itself, where ranks are compared with one process."""

    def __init__(self, *layers: type) -> None:
        self.layers = layers

    def on_train_batch_start(self, trainer: Any, module: nn.Module, *_: Any) -> None:
        for layer in module.modules():
            if isinstance(layer, (StochasticDepth, *self.layers)):
                layer.eval()


class Record(L.Callback):
    """The batch and the gradient of every step, after the ranks have shared it."""

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.gradients: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.batches.append({name: x.cpu() if isinstance(x, torch.Tensor) else x for name, x in batch.items()})

    def on_before_optimizer_step(self, trainer: L.Trainer, module: L.LightningModule, optimizer: Any) -> None:
        self.gradients.append({k: p.grad.cpu().clone() for k, p in module.named_parameters() if p.grad is not None})


def model(labels: list[str], case: str) -> ATGNN:
    L.seed_everything(0, verbose=False)
    return ATGNN(labels, "pyramid-nano", n_mels=32, clip_seconds=0.2, k=3, drop_path=0.0, dropout=0.0,
                 mixup=0.0, mask_freq=0, mask_time=0, lr=1e-3, warmup_steps=1, **CASES[case])  # fmt: skip


def main(shards: str, out: Path, devices: int, accelerator: str, sync: bool = False) -> None:
    torch.set_num_threads(1)
    for case in CASES:
        # Batches of the same clips in all, whatever the number of ranks: the metrics must be the same too.
        data = ShardDataModule(shards, batch_size=8 // devices, crop_seconds=0.2, shuffle=1, workers=0)
        record = Record()
        trainer = L.Trainer(
            accelerator=accelerator, devices=devices, strategy="ddp" if devices > 1 else "auto", max_epochs=1,
            limit_train_batches=3, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, sync_batchnorm=sync, callbacks=[Frozen(*([] if sync else BATCH_NORM)), record],
        )  # fmt: skip
        network = model(data.labels, case)
        start = {name: value.clone() for name, value in network.state_dict().items()}
        trainer.fit(network, data)
        final = {name: value.cpu() for name, value in network.state_dict().items()}
        network.load_state_dict(start)  # so that metrics are compared by themselves, without rounding in training
        metrics = trainer.validate(network, data, verbose=False)[0] | trainer.test(network, data, verbose=False)[0]
        result = {"batches": record.batches, "gradients": record.gradients, "metrics": metrics, "final": final}
        torch.save(result, out / f"{case}-{trainer.global_rank}.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5:] == ["sync"])
