"""Shards in, batches out: read along a plan, shuffle, decode, crop, collate."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np
import torch
import webdataset as wds
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from atgnn.data.archive import Sample, read_shard
from atgnn.data.faults import Fault, Faults
from atgnn.data.index import SplitIndex
from atgnn.data.labels import Vocabulary
from atgnn.data.plan import Draws, Plan
from atgnn.data.remote import fetch_shard
from atgnn.errors import InputError


class Batch(TypedDict):
    """B clips of T samples with S labels; ``mask`` is False for fillers and for clips that cannot be used, which are
    silent then; ``lengths`` says where audio ends.
    """

    waveform: Tensor
    lengths: Tensor
    targets: Tensor
    mask: Tensor
    key: list[str]


class _Read(NamedTuple):
    place: int  # in the plan of this rank
    number: int  # of the clip, -1 for a filler
    targets: list[int]  # as the index has them
    sample: Sample | None
    fault: str = ""  # of the shard, where there is no sample


class ShardStream(IterableDataset[tuple[Batch, list[Fault]]]):
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
        yields: waveform (B, T) float32, lengths (B,) int64, targets (B, S) float32, mask (B,) bool, B keys; and the
            faults of the clips, and of the shards, that cannot be used.
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
        self._shards = [(split, shard) for split in splits for shard in split.shards]
        self._starts = np.cumsum([0, *(shard.clips for _, shard in self._shards)])
        data = [split.digest for split in splits]
        # All that the order of clips depends on, but for epoch and workers.
        self.order = hashlib.sha256(json.dumps([data, plan.settings, shuffle, seed]).encode()).hexdigest()
        # Epoch and first batch; in shared memory, so that workers that live through several epochs see them change.
        self._position = torch.zeros(2, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        """Batches of an epoch, the same on every rank."""
        return len(self.plan)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; Lightning calls this before each epoch."""
        self._position[0] = epoch

    def start_at(self, batch: int) -> None:
        """Begin the next iteration with this batch of the epoch."""
        self._position[1] = batch

    def __iter__(self) -> Iterator[tuple[Batch, list[Fault]]]:
        """Batches of this worker.

        Batch n of a rank is batch n // W of part n % W of its clips: a part for each of W workers, which take turns.
        Parts are contiguous, so that few shards are opened twice.
        """
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        epoch, start = self._position.tolist()
        size, (turn, part) = self.plan.batch_size, divmod(start + worker, workers)
        batches = [len(range(p, len(self.plan), workers)) for p in range(part + 1)]
        first = size * sum(batches[:part])
        draws = self.plan.draws(epoch)[first : first + size * batches[part]]
        places = list(range(first, first + len(draws)))
        if self.shuffle > 1:
            # Numbers are shuffled through the buffer that the clips will need, so that any batch can be the first.
            rng = random.Random(f"{self.seed}/{epoch}/{first}/{draws[:1]}")
            places = list(wds.shuffle(self.shuffle, initial=self.shuffle, rng=rng)(iter(places)))
        left = places[turn * size :]
        wanted = np.sort(np.array(left, dtype=np.int64))
        reads = self._read(wanted, draws[wanted - first])
        held: dict[int, _Read] = {}
        for begin in range(0, len(left), size):
            batch = []
            for place in left[begin : begin + size]:
                while place not in held:
                    read = next(reads)
                    held[read.place] = read
                batch.append(held.pop(place))
            yield self._batch(batch, epoch)

    def _read(self, places: Draws, draws: Draws) -> Iterator[_Read]:
        owners = np.searchsorted(self._starts, draws, side="right") - 1
        # Another tar, the same one from the front again, or fillers: each begins a run that is read front to back.
        breaks = np.flatnonzero((np.diff(owners) != 0) | (np.diff(draws) < 0)) + 1
        for run in np.split(np.arange(len(draws)), breaks) if len(draws) else ():
            owner, wanted = int(owners[run[0]]), run.tolist()
            if owner < 0:
                yield from (_Read(int(places[i]), -1, [], None) for i in wanted)
                continue
            (split, shard), start = self._shards[owner], int(self._starts[owner])
            fault = ""
            try:
                if split.address:
                    fetch_shard(split, shard)
                for number, sample in enumerate(read_shard(split.directory, shard), start):
                    while wanted and draws[wanted[0]] == number:
                        yield _Read(int(places[wanted.pop(0)]), number, shard.targets[number - start], sample)
                    if not wanted:
                        break
            except InputError as error:
                fault = str(error)
            for i in wanted:
                number = int(draws[i])
                yield _Read(int(places[i]), number, shard.targets[number - start], None, fault)

    def _batch(self, reads: list[_Read], epoch: int) -> tuple[Batch, list[Fault]]:
        batch = Batch(
            waveform=torch.zeros(len(reads), self.crop),
            lengths=torch.full((len(reads),), self.crop),
            targets=torch.zeros(len(reads), len(self._vocabulary)),
            mask=torch.zeros(len(reads), dtype=torch.bool),
            key=[read.sample.key if read.sample else "" for read in reads],
        )
        faults: list[Fault] = []
        for row, read in enumerate(reads):
            if read.number < 0:
                continue
            try:
                clip = self._decode(read)
            except InputError as error:
                faults.append(Fault(batch["key"][row] or f"clip {read.number}", error.cause, str(error)))
                continue
            if self.shuffle and len(clip) > self.crop:
                rng = np.random.default_rng([self.seed, epoch, read.place, read.number])
                clip = clip[rng.integers(len(clip) - self.crop + 1) :]
            clip = clip[: self.crop]
            batch["waveform"][row, : len(clip)] = clip
            batch["lengths"][row] = len(clip)
            batch["targets"][row, read.targets] = 1.0
            batch["mask"][row] = True
        if self.tight:
            longest = max(1, int((batch["lengths"] * batch["mask"]).max()))
            batch["waveform"] = batch["waveform"][:, :longest].clone()
            batch["lengths"] = batch["lengths"].clamp(max=longest)
        return batch, faults

    def _decode(self, read: _Read) -> Tensor:
        if read.sample is None:
            raise InputError(read.fault, cause="shard")
        sample = read.sample
        if sample.fault:
            raise InputError(sample.fault, cause="metadata")
        if self._vocabulary.indices(sample.meta["labels"], sample.key) != read.targets:
            raise InputError(
                f"expected the labels that the index says, got {sample.meta['labels']} in clip '{sample.key}'; "
                "write the shards again",
                cause="labels",
            )
        clip = sample.waveform(self.sample_rate)
        if not clip[:1000].any() and not clip.any():  # nearly always its beginning tells
            raise InputError(f"expected sound, got silence in clip '{sample.key}'; leave it out", cause="silent")
        return clip


class ShardLoader:
    """A DataLoader over a stream, which knows its length and position, and whose epoch can be set.

    Args:
        stream: where the batches come from.
        workers: processes that decode; 0 decodes in this one.
        max_bad_fraction: share of the clips of an epoch that may be unusable.
    """

    def __init__(self, stream: ShardStream, workers: int, max_bad_fraction: float = 0.01) -> None:
        # Under these names Lightning looks for set_epoch, and for whether shuffling is its business.
        self.sampler = self.dataset = stream
        self.max_bad_fraction = max_bad_fraction
        self._workers, self._start, self._batches = workers, 0, 0
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
        """Batches of one epoch, or what is left of it after :meth:`load_state_dict`.

        Raises:
            InputError: if more than ``max_bad_fraction`` of the clips cannot be used.
        """
        # A position at the end of an epoch is the beginning of the next.
        self._batches, self._start = self._start % len(self), 0
        self.sampler.start_at(self._batches)
        faults = Faults(len(self) * self.sampler.plan.batch_size, self.max_bad_fraction)
        for batch, bad in self._loader:
            for fault in bad:
                faults.add(fault)
            self._batches += 1
            yield batch
        faults.report()

    def state_dict(self) -> dict[str, Any]:
        """Batches of this epoch that were handed out, the same on every rank, and what their order depends on."""
        return {"batches": self._batches, "order": self.sampler.order, "workers": self._workers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after these batches.

        Raises:
            InputError: if an epoch was left midway and its order would now be another one.
        """
        self._start = state["batches"]
        if self._start % len(self) and state != self.state_dict() | {"batches": self._start}:
            raise InputError(
                f"expected the data and settings of a run that stopped after {self._start} batches of an epoch, got "
                "others; resume with the same shards, batch size, seed, ranks and workers"
            )
