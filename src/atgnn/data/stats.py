"""``atgnn shards stats``: mean and standard deviation of a split's log-mels, which normalise the network's input."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from atgnn.audio.frontend import LogMel
from atgnn.data.archive import read_shard
from atgnn.data.index import Shard, SplitIndex, read_splits
from atgnn.data.parallel import in_parallel

BATCH = 32


class Stats(NamedTuple):
    """Mean and standard deviation over all clips, frames and bins."""

    mean: float
    std: float

    def __str__(self) -> str:
        """The two lines of YAML that a recipe needs."""
        return f"mean: {self.mean:.4f}\nstd: {self.std:.4f}"


def shard_stats(
    directory: Path,
    *,
    split: str = "train",
    n_mels: int = 128,
    clip_seconds: float = 10.24,
    jobs: int = 1,
    engine: str | None = None,
) -> Stats:
    """Measure the log-mels of a split, print mean and std as a recipe has them, and keep them in stats.json.

    Only frames of sound count, not what pads a clip to its crop.

    Args:
        directory: folder that atgnn shards write or atgnn shards mix made.
        split: what to measure: the split that is trained on.
        n_mels: mel bins of the recipe.
        clip_seconds: crop of the recipe; longer clips are measured in pieces of it.
        jobs: processes that decode.
        engine: dask://HOST:PORT, or ray, to work on the workers of a cluster, which must see the same files.

    Raises:
        InputError: if there is no such split, or a shard is damaged.
    """
    directory = Path(directory).absolute()
    (index,) = read_splits(directory, [split])
    measure = partial(_sums, split=index, n_mels=n_mels, crop=round(clip_seconds * index.sample_rate))
    parts = in_parallel(measure, index.shards, f"measuring {split}", jobs=jobs, engine=engine)
    count, total, squares = (math.fsum(column) for column in zip(*parts, strict=True))
    mean = total / count
    stats = Stats(mean, math.sqrt(squares / count - mean**2))
    path = directory / "stats.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(
        json.dumps(known | {split: stats._asdict() | {"n_mels": n_mels, "digest": index.digest}}), encoding="utf-8"
    )
    return stats


def _sums(shard: Shard, split: SplitIndex, n_mels: int, crop: int) -> tuple[int, float, float]:
    """Number, sum and sum of squares of the log-mels of a shard."""
    frontend = LogMel(split.sample_rate, n_mels)
    pieces = _pieces(split, shard, crop, frontend.win_length)
    count, total, squares = 0, 0.0, 0.0
    while batch := list(itertools.islice(pieces, BATCH)):
        lengths = torch.tensor([len(piece) for piece in batch])
        log_mel = frontend(pad_sequence(batch, batch_first=True), lengths).double()
        # Frames past the end are zero: they add nothing to the sums, and are not counted.
        frames = 1 + (lengths - frontend.win_length).clamp(min=0) // frontend.hop_length
        count += int(frames.sum()) * n_mels
        total += float(log_mel.sum())
        squares += float(log_mel.square().sum())
    return count, total, squares


def _pieces(split: SplitIndex, shard: Shard, crop: int, win_length: int) -> Iterator[Tensor]:
    for sample in read_shard(split.directory, shard):
        first, *others = sample.waveform(split.sample_rate).split(crop)
        yield first
        yield from (piece for piece in others if len(piece) >= win_length)
