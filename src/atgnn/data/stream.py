"""Shards in, batches out: read along a plan, shuffle, decode, crop, collate."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import TypedDict

import numpy as np
import torch
import webdataset as wds
from numpy.random import Generator, default_rng
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from atgnn.audio.files import read_audio
from atgnn.data.archive import Sample, read_shard
from atgnn.data.index import SplitIndex
from atgnn.data.labels import Vocabulary
from atgnn.data.plan import Draws, Plan
from atgnn.errors import InputError

Read = tuple[int, Sample | None]
"""The place of a clip in the plan, and the clip; None is a filler."""


class Batch(TypedDict):
    """What every loader gives: B clips of T samples, S labels; ``mask`` is False for fillers."""

    waveform: Tensor
    lengths: Tensor
    targets: Tensor
    mask: Tensor
    key: list[str]


class ShardStream(IterableDataset[Batch]):
    """Batches of one rank, read from shards along a plan; DataLoader workers divide them among themselves.

    Args:
        splits: indices with one vocabulary and sample rate.
        plan: which clips, in which order.
        crop_seconds: length T of every waveform; shorter clips are padded with zeros.
        shuffle: clips (still encoded) held in each worker's shuffle buffer, and longer clips are cut at random;
            with 0 the order of the plan is kept and longer clips keep their beginning.
        seed: of shuffling and cutting, together with the epoch.

    Shape:
        yields: waveform (B, T) float32, lengths (B,) int64, targets (B, S) float32, mask (B,) bool, B keys.

    Raises:
        InputError: while iterating, if a shard is cut short, damaged, or not what its index says.
    """

    def __init__(
        self, splits: Sequence[SplitIndex], plan: Plan, *, crop_seconds: float, shuffle: int = 0, seed: int = 0
    ) -> None:
        self.splits = list(splits)
        self.plan = plan
        self.sample_rate = splits[0].sample_rate
        self.samples = round(crop_seconds * self.sample_rate)
        self.shuffle = shuffle
        self.seed = seed
        self._vocabulary = Vocabulary(splits[0].labels)
        # In shared memory, so that workers that live through several epochs see it change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        """Batches of an epoch, the same on every rank."""
        return len(self.plan)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; Lightning calls this before each epoch."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[Batch]:
        """Batches of this worker."""
        epoch = int(self._epoch)
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        first, last = (len(self.plan) * w // workers * self.plan.batch_size for w in (worker, worker + 1))
        draws = self.plan.draws(epoch)
        reads = self._read(draws[first:last], first)
        if self.shuffle > 1:
            rng = np.random.default_rng([self.seed, epoch, int(draws[0]), worker])
            reads = _shuffle(reads, self.shuffle, rng)
        yield from self._batches(reads, epoch)

    def _read(self, draws: Draws, first: int) -> Iterator[Read]:
        shards = [(split.directory, shard) for split in self.splits for shard in split.shards]
        starts = np.concatenate([[0], np.cumsum([shard.clips for _, shard in shards])])
        owner = np.searchsorted(starts, draws, side="right") - 1
        # A new tar, another pass over the same one, or fillers: each begins a run that is read front to back.
        breaks = np.flatnonzero((np.diff(owner) != 0) | (np.diff(draws) < 0)) + 1
        for run in np.split(np.arange(len(draws)), breaks):
            if len(run) == 0 or draws[run[0]] < 0:
                yield from ((int(first + i), None) for i in run)
                continue
            directory, shard = shards[owner[run[0]]]
            wanted = iter(run)
            i = next(wanted)
            for number, sample in enumerate(read_shard(directory, shard), start=int(starts[owner[i]])):
                while i is not None and draws[i] == number:
                    yield int(first + i), sample
                    i = next(wanted, None)
                if i is None:
                    break

    def _batches(self, reads: Iterable[Read], epoch: int) -> Iterator[Batch]:
        clips: list[Batch] = []
        for place, sample in reads:
            clips.append(self._clip(sample, default_rng([self.seed, epoch, place])))
            if len(clips) == self.plan.batch_size:
                yield _collate(clips)
                clips = []
        if clips:
            yield _collate(clips)
