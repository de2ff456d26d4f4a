"""Shards as a LightningDataModule, from plain values."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningDataModule

from atgnn.data.index import SplitIndex, find_splits, read_splits
from atgnn.data.plan import EvaluationPlan, TrainingPlan
from atgnn.data.remote import fetch_indices, is_address
from atgnn.data.stream import ShardLoader, ShardStream
from atgnn.errors import InputError


class ShardDataModule(LightningDataModule):
    """Stream training, validation and test clips from shards.

    Splits are named as their folders in ``shards``. Several names are read as one split, so that cross-validation
    needs no second copy: ``train=["fold1", "fold2", "fold3"], val="fold4", test="fold0"``.

    Args:
        shards: folder that ``atgnn shards write`` or ``atgnn shards mix`` made, or the address of one, as in
            https://… or s3://…: then shards are fetched when they are first read.
        batch_size: clips of a batch on one device.
        crop_seconds: length of every waveform; shorter clips are padded with zeros, longer ones cut: at random in
            training, after their beginning elsewhere.
        protocol: what is evaluated of a clip: its "first" ``crop_seconds``, or all of it, for a model that tags it by
            "windows"; then a batch is padded to its longest clip.
        max_clip_seconds: clips evaluated by windows are cut after so many seconds, which bounds the memory.
        sample_rate: rate in Hz that the shards must have.
        train: split or splits to train on.
        val: split or splits to validate on; none to leave validation out.
        test: split or splits to test on.
        predict: split or splits to predict; those of ``test`` by default.
        workers: processes that decode, on each device; 0 decodes in the training process.
        shuffle: encoded clips held in each worker's shuffle buffer.
        balance: draw training clips so that rare labels come as often as common ones.
        steps_per_epoch: training batches of an epoch on each device; by default one pass over the clips.
        seed: of the training order and crops.
        cache_dir: where fetched shards are kept; a local disk with room for all that this machine reads.
        max_bad_fraction: share of the clips of an epoch that may be unreadable, silent, mislabelled or in a damaged
            shard. They are left out: the ``mask`` of a batch is False for them, in training too.

    Raises:
        InputError: if there are no shards, one is damaged, their labels differ, or they have another sample rate.
    """

    def __init__(
        self,
        shards: str,
        batch_size: int = 24,
        crop_seconds: float = 10.24,
        protocol: Literal["first", "windows"] = "first",
        max_clip_seconds: float = 60.0,
        sample_rate: int = 16000,
        train: str | list[str] = "train",
        val: str | list[str] | None = "val",
        test: str | list[str] | None = "test",
        predict: str | list[str] | None = None,
        workers: int = 0,
        shuffle: int = 1000,
        balance: bool = False,
        steps_per_epoch: int | None = None,
        seed: int = 0,
        cache_dir: str = "~/.cache/atgnn",
        max_bad_fraction: float = 0.01,
    ) -> None:
        super().__init__()
        for name, value in (("batch_size", batch_size), ("crop_seconds", crop_seconds), ("shuffle", shuffle)):
            if value <= 0:
                raise InputError(f"expected {name} above 0, got {value}; give a positive number")
        if round(crop_seconds * sample_rate) < 1:
            raise InputError(f"expected crop_seconds of at least one sample, got {crop_seconds}; give a longer crop")
        if protocol not in ("first", "windows"):
            raise InputError(f"expected protocol first or windows, got {protocol}; name one of them")
        if protocol == "windows" and max_clip_seconds < crop_seconds:
            raise InputError(
                f"expected max_clip_seconds of at least the crop of {crop_seconds} s, got {max_clip_seconds}; raise it"
            )
        if steps_per_epoch is not None and steps_per_epoch < 1:
            raise InputError(f"expected steps_per_epoch of at least 1, got {steps_per_epoch}; leave it out")
        if not 0 <= max_bad_fraction <= 1:
            raise InputError(f"expected max_bad_fraction from 0 to 1, got {max_bad_fraction}; give a share of clips")
        self.shards = str(shards).rstrip("/")
        self.batch_size = batch_size
        self.crop_seconds = crop_seconds
        self.protocol = protocol
        self.max_clip_seconds = max_clip_seconds
        self.sample_rate = sample_rate
        self.train, self.val, self.test = _names(train), _names(val), _names(test)
        self.predict = _names(predict) or self.test
        self.workers = workers
        self.shuffle = shuffle
        self.balance = balance
        self.steps_per_epoch = steps_per_epoch
        self.seed = seed
        self.max_bad_fraction = max_bad_fraction
        self._used = list(dict.fromkeys([*self.train, *self.val, *self.test, *self.predict]))
        self._folder = Path(self.shards)
        if is_address(self.shards):
            self._folder = fetch_indices(self.shards, self._used, Path(cache_dir))
        self._train_loader: ShardLoader | None = None
        self._resume: dict[str, Any] = {}
        self._check()

    @property
    def labels(self) -> list[str]:
        """Label names in the order of the targets."""
        return next(iter(self.splits.values())).labels

    @property
    def manifest_hash(self) -> str:
        """SHA-256 over the indices of all splits in use: equal hashes, equal data."""
        digests = "".join(self.splits[name].digest for name in sorted(self.splits))
        return hashlib.sha256(digests.encode()).hexdigest()

    def train_dataloader(self) -> ShardLoader:
        """Shuffled training clips, cut at random."""
        splits = self._named(self.train, "train")
        rank, world_size = self._place()
        plan = TrainingPlan(
            splits,
            self.batch_size,
            steps=self.steps_per_epoch,
            balance=self.balance,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
        )
        stream = ShardStream(splits, plan, crop_seconds=self.crop_seconds, shuffle=self.shuffle, seed=self.seed)
        self._train_loader = ShardLoader(stream, self.workers, self.max_bad_fraction)
        if self._resume:
            self._train_loader.load_state_dict(self._resume)
            self._resume = {}
        return self._train_loader

    def state_dict(self) -> dict[str, Any]:
        """Position in the training epoch, for a checkpoint."""
        return self._train_loader.state_dict() if self._train_loader else self._resume

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Begin training where a checkpoint was written.

        Lightning gives the states of loaders to the loaders only where nobody asks for the number of batches before,
        as a schedule of learning rates does.
        """
        self._resume = dict(state_dict)

    def val_dataloader(self) -> ShardLoader | list[ShardLoader]:
        """Validation clips, each once; no loader where ``val`` is none."""
        return self._evaluation(self.val, "val") if self.val else []

    def test_dataloader(self) -> ShardLoader:
        """Test clips, each once."""
        return self._evaluation(self.test, "test")

    def predict_dataloader(self) -> ShardLoader:
        """Clips to predict, each once."""
        return self._evaluation(self.predict, "predict")

    @cached_property
    def splits(self) -> dict[str, SplitIndex]:
        """Indices of the splits in use, by name."""
        there = find_splits(self._folder)
        # A copy of the shards that holds the test split alone can be tested: what is absent fails when it is read.
        splits = read_splits(self._folder, [name for name in self._used if name in there] or there)
        address = self.shards if is_address(self.shards) else ""
        return {split.name: replace(split, address=address) for split in splits}

    def _check(self) -> None:
        rate = next(iter(self.splits.values())).sample_rate
        if rate != self.sample_rate:
            raise InputError(
                f"expected {self.sample_rate} Hz, got {rate} Hz in '{self.shards}'; "
                f"write the shards with --sample-rate {self.sample_rate}"
            )

    def _named(self, names: Sequence[str], role: str) -> list[SplitIndex]:
        absent = [name for name in names if name not in self.splits]
        if absent or not names:
            raise InputError(
                f"expected a split of '{self.shards}' ({', '.join(find_splits(self._folder))}) for {role}, "
                f"got {', '.join(absent) or 'none'}; name one that is there"
            )
        return [self.splits[name] for name in names]

    def _evaluation(self, names: Sequence[str], role: str) -> ShardLoader:
        splits = self._named(names, role)
        rank, world_size = self._place()
        plan = EvaluationPlan(splits, self.batch_size, rank=rank, world_size=world_size)
        whole = self.protocol == "windows"
        seconds = self.max_clip_seconds if whole else self.crop_seconds
        stream = ShardStream(splits, plan, crop_seconds=seconds, tight=whole)
        return ShardLoader(stream, self.workers, self.max_bad_fraction)

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


def _names(names: str | list[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else list(names or [])
