from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from atgnn.data.datamodule import ShardDataModule
from atgnn.data.stream import Batch
from atgnn.errors import InputError

CLIPS = [["a"], ["a", "c"], [], ["c"], ["b"]] * 2


@pytest.fixture
def shards(write_clips: Callable[..., Path]) -> Path:
    return write_clips({"train": CLIPS, "val": CLIPS[:5], "test": CLIPS[:3]})


def module(shards: Path, **options: Any) -> ShardDataModule:
    return ShardDataModule(str(shards), **({"batch_size": 2, "crop_seconds": 0.01} | options))


class Recorder(LightningModule):
    """Notes which clips it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: dict[str, list[list[str]]] = {"train": [], "val": [], "test": []}

    def on_train_epoch_start(self) -> None:
        self.seen["train"].append([])

    def training_step(self, batch: Batch) -> torch.Tensor:
        self.seen["train"][-1] += batch["key"]
        return self.weight * batch["waveform"].mean()

    def validation_step(self, batch: Batch) -> None:
        self.seen["val"].append(batch["key"])

    def test_step(self, batch: Batch) -> None:
        self.seen["test"].append(batch["key"])

    def predict_step(self, batch: Batch) -> list[str]:
        return batch["key"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    return Trainer(
        accelerator="cpu", max_epochs=3, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=tmp_path,
    )  # fmt: skip


def test_labels_and_hash_are_known_at_once(shards: Path) -> None:
    data = module(shards)
    assert data.labels == ["a", "b", "c"]
    assert data.manifest_hash == module(shards).manifest_hash
    assert data.manifest_hash != module(shards, test=None).manifest_hash


def test_lightning_runs_every_stage(shards: Path, trainer: Trainer) -> None:
    recorder, data = Recorder(), module(shards)
    trainer.fit(recorder, data)
    assert trainer.global_step == 15
    epochs = recorder.seen["train"]
    assert [sorted(epoch) for epoch in epochs] == [[f"train-{n:04d}" for n in range(10)]] * 3
    assert epochs[0] != epochs[1] != epochs[2]
    assert recorder.seen["val"][:3] == [["val-0000", "val-0001"], ["val-0002", "val-0003"], ["val-0004"]]
    trainer.test(recorder, data, verbose=False)
    assert recorder.seen["test"] == [["test-0000", "test-0001"], ["test-0002"]]
    assert trainer.predict(recorder, data) == recorder.seen["test"]


def test_whole_clips_are_evaluated_by_windows(shards: Path) -> None:
    data = module(shards, crop_seconds=0.002, protocol="windows", max_clip_seconds=0.005)
    assert next(iter(data.train_dataloader()))["waveform"].shape == (2, 32)
    for loader in (data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        assert {batch["waveform"].size(1) for batch in loader} == {80}
    data = module(shards, crop_seconds=0.002, protocol="windows")
    assert next(iter(data.val_dataloader()))["waveform"].shape == (2, 160)


def test_several_names_are_one_split(write_clips: Callable[..., Path]) -> None:
    folds = write_clips({f"fold{n}": CLIPS[: n + 3] for n in range(4)})
    data = module(folds, train=["fold1", "fold3"], val="fold2", test="fold0", predict=["fold0", "fold2"])
    assert sorted(key for batch in data.train_dataloader() for key in batch["key"]) == [
        *(f"fold1-{n:04d}" for n in range(4)),
        *(f"fold3-{n:04d}" for n in range(6)),
    ]
    assert sum(len(batch["key"]) for batch in data.predict_dataloader()) == 8


def test_steps_and_no_validation(shards: Path) -> None:
    data = module(shards, val=None, steps_per_epoch=9, balance=True)
    assert len(data.train_dataloader()) == len(list(data.train_dataloader())) == 9
    assert data.val_dataloader() == []


def test_a_sample_rate_that_does_not_match_is_refused(write_clips: Callable[..., Path]) -> None:
    shards = write_clips({"train": CLIPS}, rate=44100)
    message = r"expected 16000 Hz, got 44100 Hz in '.*shards'; write the shards with --sample-rate 16000"
    with pytest.raises(InputError, match=message):
        module(shards)


def test_absent_shards_and_splits_are_refused(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"expected shards, got none in '.*nowhere'; make them with atgnn shards write"
    ):
        module(tmp_path / "nowhere")
    message = r"expected a split of '.*' \(test, train, val\) for train, got dev; name one that is there"
    with pytest.raises(InputError, match=message):
        module(shards, train="dev").train_dataloader()
    with pytest.raises(InputError, match="for test, got none"):
        module(shards, test=None).test_dataloader()


def test_labels_that_differ_between_splits_are_refused(shards: Path, write_clips: Callable[..., Path]) -> None:
    other = write_clips({"dev": CLIPS}, labels=("a", "b", "c", "d"), name="other")
    (other / "dev").rename(shards / "dev")
    with pytest.raises(InputError, match="expected the same labels and sample rate in all splits"):
        module(shards, val="dev")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "expected batch_size above 0, got 0"),
        ({"crop_seconds": 0.0}, "expected crop_seconds above 0"),
        ({"crop_seconds": 1e-9}, "expected crop_seconds of at least one sample"),
        ({"steps_per_epoch": 0}, "expected steps_per_epoch of at least 1"),
        ({"protocol": "all"}, "expected protocol first or windows, got all"),
        (
            {"protocol": "windows", "max_clip_seconds": 0.001},
            r"expected max_clip_seconds of at least the crop of 0.01 s",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(shards: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        module(shards, **options)
