"""What a run logs about its labels, to each kind of logger."""

import csv
import json

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger

from atgnn import ATGNN
from atgnn.watch import Watch, confusions, log_figure, log_table


def test_confusions_of_hand_made_scores():
    targets = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 1]])
    scores = torch.tensor([[0.9, 0.5, 0.1], [0.9, 0.9, 0.3], [0.2, 0.8, 1.0], [0.4, 0.6, 1.0]])
    found = {(a, b): (clips, round(score, 4)) for a, b, clips, score in confusions(["A", "B", "C"], scores, targets)}
    assert found == {
        ("C", "B"): (2, 0.7), ("A", "B"): (1, 0.5), ("C", "A"): (2, 0.3), ("B", "C"): (1, 0.3), ("A", "C"): (2, 0.2),
    }  # fmt: skip
    assert next(iter(found)) == ("C", "B")


@pytest.fixture
def clips():
    return [
        {
            "waveform": 0.1 * torch.randn(4, 8000), "lengths": torch.full((4,), 8000),
            "targets": torch.eye(4)[:, :2] + torch.eye(4)[:, 2:], "mask": torch.tensor([True, True, True, False]),
            "key": list("abcd"),
        }
    ]  # fmt: skip


def train(logger, clips, folder):
    model = ATGNN(["Dog", "Whoosh, swoosh"], "pyramid-nano", n_mels=32, clip_seconds=0.5, warmup_steps=1)
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", logger=logger, callbacks=[Watch()], enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, log_every_n_steps=1, default_root_dir=folder,
    )  # fmt: skip
    loader = torch.utils.data.DataLoader(clips, batch_size=None)
    trainer.fit(model, loader, loader)


def test_csv(clips, tmp_path):
    train(CSVLogger(tmp_path, name="", version="run"), clips, tmp_path)
    run = tmp_path / "run"
    rows = list(csv.DictReader((run / "labels.csv").open()))
    assert [(row["label"], row["clips"]) for row in rows] == [("Dog", "2"), ("Whoosh, swoosh", "1")]
    assert (run / "spectrogram.png").stat().st_size > 5000


def test_tensorboard(clips, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(TensorBoardLogger(tmp_path, name="", version="run"), clips, tmp_path)
    events = accumulator.EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    assert "val/spectrogram" in events.Tags()["images"]
    assert {"val/labels/text_summary", "val/confusions/text_summary"} <= set(events.Tags()["tensors"])


@pytest.mark.slow
def test_wandb_without_a_network(clips, tmp_path):
    wandb = pytest.importorskip("wandb")
    logger = WandbLogger("watch", tmp_path, offline=True)
    train(logger, clips, tmp_path)
    wandb.finish()
    (media,) = tmp_path.glob("wandb/offline-run-*/files/media")
    assert {path.parent.parent.name for path in media.rglob("*_*.*")} == {"table", "images"}
    (labels,) = media.glob("table/val/labels_*.table.json")
    assert [row[0] for row in json.loads(labels.read_text())["data"]] == ["Dog", "Whoosh, swoosh"]


def test_a_logger_of_tables_and_images(tmp_path):
    """As W&B's: it takes both by name."""
    taken = {}

    class Tables:
        experiment = None

        def log_table(self, name, columns, data):
            taken[name] = columns, data

        def log_image(self, name, images):
            taken[name] = images[0].size

    class Trainer:
        loggers = (Tables(),)
        default_root_dir = tmp_path

    from matplotlib.figure import Figure

    log_table(Trainer, "labels", ("label", "AP"), [("Dog", 0.5)])
    log_figure(Trainer, "spectrogram", Figure())
    assert taken["val/labels"] == (["label", "AP"], [["Dog", 0.5]])
    assert taken["val/spectrogram"][0] > 100
