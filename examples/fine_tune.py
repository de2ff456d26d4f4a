"""ATGNN as a part of another LightningModule: fine-tune its encoder on recordings with labels of one's own.

    python examples/fine_tune.py [FOLDER]

FOLDER has one folder per label; without it, the example sorts the bundled recordings by the kind of their names.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atgnn import ShardDataModule
from atgnn.checkpoint import load_model
from atgnn.data.shards import write_shards
from atgnn.metrics import AveragePrecision, mean_average_precision

MINI = Path(__file__).parents[1] / "data" / "mini"


class MyTagger(L.LightningModule):
    """A new linear head on the mean patch of a trained ATGNN; the encoder learns on, ten times slower."""

    def __init__(self, labels: list[str], lr: float = 3e-3) -> None:
        super().__init__()
        self.encoder = load_model().tagger  # or load_model("path/to/best.ckpt").tagger
        channels = self.encoder.network.head[0].in_features
        self.head = nn.Linear(channels, len(labels))
        self.average_precision = AveragePrecision(len(labels))
        self.lr = lr

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        patches = self.encoder.output(waveform, lengths).patches[-1]
        return self.head(patches.mean(dim=(2, 3)))

    def training_step(self, batch: dict, batch_idx: int) -> Tensor:
        logits = self(batch["waveform"], batch["lengths"])
        loss = F.binary_cross_entropy_with_logits(logits, batch["targets"])
        self.log("train/loss", loss, prog_bar=True, batch_size=len(logits))
        return loss

    def test_step(self, batch: dict, batch_idx: int) -> None:
        self.average_precision.update(self(batch["waveform"], batch["lengths"]), batch["targets"], batch["mask"])

    def on_test_epoch_end(self) -> None:
        self.log("test/mAP", mean_average_precision(self.average_precision.compute()))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        slow = {"params": self.encoder.parameters(), "lr": self.lr / 10}
        return torch.optim.Adam([slow, {"params": self.head.parameters()}], lr=self.lr)


def by_kind(folder: Path) -> Path:
    """A manifest of the bundled recordings, labelled by the first word of their names: drum, tabla, elec, …"""
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "labels"))
        writer.writerows((clip, clip.stem.split("_")[0]) for clip in sorted((MINI / "clips").glob("*.flac")))
    return manifest


def main() -> None:
    L.seed_everything(0)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(sys.argv[1]) if len(sys.argv) > 1 else by_kind(Path(folder))
        print(write_shards(source, Path(folder) / "shards", min_clips=8, test_fraction=0.3, val_fraction=0.0))
        data = ShardDataModule(f"{folder}/shards", batch_size=16, crop_seconds=4.0, val=None)
        trainer = L.Trainer(max_epochs=8, accelerator="auto", logger=False, enable_checkpointing=False)
        model = MyTagger(data.labels)
        trainer.fit(model, data)
        trainer.test(model, data)


if __name__ == "__main__":
    main()
