"""Shards in, batches out: read along a plan, shuffle, decode, crop, collate."""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypedDict

import numpy as np
import torch
import webdataset as wds
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from atgnn.audio.files import read_audio
from atgnn.data.archive import Sample, read_shard
from atgnn.data.index import SplitIndex
from atgnn.data.labels import Vocabulary
from atgnn.data.plan import Draws, Plan
from atgnn.errors import InputError


class Batch(TypedDict):
    """B clips of T samples with S labels; ``mask`` is False for fillers, ``lengths`` says where audio ends."""

    waveform: Tensor
    lengths: Tensor
    targets: Tensor
    mask: Tensor
    key: list[str]


class _Read(NamedTuple):
    place: int  # in the plan of this rank
    number: int  # of the clip, -1 for a filler
    sample: Sample | None


class ShardStream(IterableDataset[Batch]):
    """Batches of one rank, read from shards along a plan; DataLoader workers divide them among themselves.

    Args:
        splits: indices with one vocabulary and sample rate.
        plan: which clips, in which order.
        crop_seconds: length T of every waveform; shorter clips are padded with zeros.
        tight: T is the length of the longest clip of a batch instead, if that is shorter.
        shuffle: clips (still encoded) held in each worker's shuffle buffer, and longer clips are cut at random;
            with 0 the order of the plan is kept and longer clips keep their beginning.
        seed: of shuffling and cutting, together with the epoch.

    Shape:
        yields: waveform (B, T) float32, lengths (B,) int64, targets (B, S) float32, mask (B,) bool, B keys.

    Raises:
        InputError: while iterating, if a shard is cut short, damaged, or not what its index says.
    """

    def __init__(
        self,
        splits: Sequence[SplitIndex],
        plan: Plan,
        *,
        crop_seconds: float,
        tight: bool = False,
        shuffle: int = 0,
        seed: int = 0,
    ) -> None:
        self.plan = plan
        self.tight = tight
        self.shuffle = shuffle
        self.seed = seed
        self.sample_rate = splits[0].sample_rate
        self.crop = round(crop_seconds * self.sample_rate)
        self._vocabulary = Vocabulary(splits[0].labels)
        self._shards = [(split.directory, shard) for split in splits for shard in split.shards]
        self._starts = np.cumsum([0, *(shard.clips for _, shard in self._shards)])
        # In shared memory, so that workers that live through several epochs see it change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        """Batches of an epoch, the same on every rank."""
        return len(self.plan)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; Lightning calls this before each epoch."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[Batch]:
        """Batches of this worker: a contiguous part of its rank's, so that few shards are opened twice."""
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        epoch, size = int(self._epoch), self.plan.batch_size
        first, last = (size * (len(self.plan) * part // workers) for part in (worker, worker + 1))
        draws = self.plan.draws(epoch)[first:last]
        reads = self._read(draws, first)
        if self.shuffle > 1:
            rng = random.Random(f"{self.seed}/{epoch}/{first}/{draws[:1]}")
            reads = wds.shuffle(self.shuffle, initial=self.shuffle, rng=rng)(reads)
        while batch := list(itertools.islice(reads, size)):
            yield self._batch(batch, epoch)

    def _read(self, draws: Draws, first: int) -> Iterator[_Read]:
        owners = np.searchsorted(self._starts, draws, side="right") - 1
        # Another tar, the same one from the front again, or fillers: each begins a run that is read front to back.
        breaks = np.flatnonzero((np.diff(owners) != 0) | (np.diff(draws) < 0)) + 1
        for run in np.split(np.arange(len(draws)), breaks) if len(draws) else ():
            owner = owners[run[0]]
            if owner < 0:
                yield from (_Read(first + int(i), -1, None) for i in run)
                continue
            wanted = run.tolist()
            for number, sample in enumerate(read_shard(*self._shards[owner]), start=int(self._starts[owner])):
                while wanted and draws[wanted[0]] == number:
                    yield _Read(first + wanted.pop(0), number, sample)
                if not wanted:
                    break

    def _batch(self, reads: list[_Read], epoch: int) -> Batch:
        batch = Batch(
            waveform=torch.zeros(len(reads), self.crop),
            lengths=torch.full((len(reads),), self.crop),
            targets=torch.zeros(len(reads), len(self._vocabulary)),
            mask=torch.zeros(len(reads), dtype=torch.bool),
            key=[read.sample.key if read.sample else "" for read in reads],
        )
        for row, (place, number, sample) in enumerate(reads):
            if sample is None:
                continue
            clip = read_audio(io.BytesIO(sample.flac), self.sample_rate, name=sample.key)
            if self.shuffle and len(clip) > self.crop:
                rng = np.random.default_rng([self.seed, epoch, place, number])
                clip = clip[rng.integers(len(clip) - self.crop + 1) :]
            clip = clip[: self.crop]
            batch["waveform"][row, : len(clip)] = clip
            batch["lengths"][row] = len(clip)
            batch["targets"][row] = self._vocabulary.encode(sample.meta["labels"], sample.key)
            batch["mask"][row] = True
        if self.tight:
            longest = max(1, int((batch["lengths"] * batch["mask"]).max()))
            batch["waveform"] = batch["waveform"][:, :longest].clone()
            batch["lengths"] = batch["lengths"].clamp(max=longest)
        return batch


class ShardLoader:
    """A DataLoader over a stream, which knows its length and whose epoch can be set.

    Args:
        stream: where the batches come from.
        workers: processes that decode; 0 decodes in this one.
    """

    def __init__(self, stream: ShardStream, workers: int) -> None:
        # Under these names Lightning looks for set_epoch, and for whether shuffling is its business.
        self.sampler = self.dataset = stream
        self._loader = DataLoader(
            stream,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def __len__(self) -> int:
        """Batches of an epoch, the same on every rank."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        """Batches of one epoch."""
        try:
            yield from self._loader
        except InputError as error:
            # A worker's error comes with its traceback in front of the sentence.
            raise InputError(str(error).rstrip().rsplit("InputError: ", 1)[-1]) from None
