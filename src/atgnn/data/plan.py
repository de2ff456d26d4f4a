"""Which clips each rank reads in an epoch, and in which order: numbers only, known before anything is opened.

Clips are numbered through all shards of all splits, in the order of the indices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from atgnn.data.index import SplitIndex

Draws = NDArray[np.int64]
"""Clip numbers in reading order; -1 stands for a filler clip."""


class Plan(Protocol):
    """What a stream follows."""

    batch_size: int
    settings: list[int]
    """All that the draws of all ranks depend on, beside the clips and the epoch."""

    def __len__(self) -> int:
        """Batches of an epoch, the same on every rank."""

    def draws(self, epoch: int) -> Draws:
        """Clips of this rank in one epoch."""


class TrainingPlan:
    """Shuffled shards, cut into equal parts for the ranks: every rank takes exactly the announced steps.

    Clips that do not fill a step are left out of an epoch, others in the next; more steps than the clips
    fill begin another shuffled pass.

    Args:
        splits: what to read.
        batch_size: clips of a batch on one rank.
        steps: batches of an epoch on each rank; by default as many as one pass over the clips fills, at least one.
        balance: draw clips by the sum of 1/count over their labels, so that rare labels come as often as common ones.
        seed: of every random choice, together with the epoch.
        rank: this rank.
        world_size: number of ranks.
    """

    def __init__(
        self,
        splits: Sequence[SplitIndex],
        batch_size: int,
        *,
        steps: int | None = None,
        balance: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.batch_size = batch_size
        self._sizes = np.array([shard.clips for split in splits for shard in split.shards])
        self._steps = steps or max(1, int(self._sizes.sum()) // (batch_size * world_size))
        self._weights = balanced_weights(splits) if balance else None
        self._seed, self._rank, self._world_size = seed, rank, world_size
        self.settings = [batch_size, self._steps, balance, seed, world_size]

    def __len__(self) -> int:
        """Batches of an epoch, the same on every rank."""
        return self._steps

    def draws(self, epoch: int) -> Draws:
        """Clips of this rank in one epoch."""
        own = self._steps * self.batch_size
        everything: list[Draws] = []
        left, number = own * self._world_size, 0
        while left:
            everything.append(self._pass(np.random.default_rng([self._seed, epoch, number]), left))
            left, number = left - len(everything[-1]), number + 1
        return np.concatenate(everything)[self._rank * own : (self._rank + 1) * own]

    def _pass(self, rng: np.random.Generator, limit: int) -> Draws:
        starts = np.concatenate([[0], np.cumsum(self._sizes)])
        order = np.concatenate([np.arange(starts[s], starts[s + 1]) for s in rng.permutation(len(self._sizes))])
        # A random beginning: otherwise the clips left out are always the last of their shard.
        order = np.roll(order, -rng.integers(len(order)))
        if self._weights is None:
            return order[:limit]
        # Systematic sampling keeps the reading order and gives each clip its share of the draws to within one.
        draws = min(limit, len(order))
        edges = np.cumsum(self._weights[order])
        points = (np.arange(draws) + rng.random()) * (edges[-1] / draws)
        return order[np.searchsorted(edges, points, side="right").clip(max=len(order) - 1)]


class EvaluationPlan:
    """Every clip exactly once, in order; ranks with fewer clips are filled up to the same number of batches.

    Args:
        splits: what to read.
        batch_size: clips of a batch on one rank.
        rank: this rank.
        world_size: number of ranks.
    """

    def __init__(self, splits: Sequence[SplitIndex], batch_size: int, *, rank: int = 0, world_size: int = 1) -> None:
        self.batch_size = batch_size
        self._clips = sum(split.clips for split in splits)
        self._own = math.ceil(self._clips / world_size)
        self._rank = rank
        self.settings = [batch_size, world_size]

    def __len__(self) -> int:
        """Batches of an epoch, the same on every rank."""
        return math.ceil(self._own / self.batch_size)

    def draws(self, epoch: int) -> Draws:
        """Clips of this rank, the same in every epoch."""
        numbers = np.arange(self._rank * self._own, (self._rank + 1) * self._own)
        return np.where(numbers < self._clips, numbers, -1)


def balanced_weights(splits: Sequence[SplitIndex]) -> NDArray[np.float64]:
    """For each clip the sum of 1/count over its labels; clips without one share the weight of one label.

    Args:
        splits: indices with one vocabulary.

    Shape:
        returns: (clips,).
    """
    clips = [labels for split in splits for shard in split.shards for labels in shard.targets]
    none = len(splits[0].labels)
    owner = np.repeat(np.arange(len(clips)), [max(1, len(labels)) for labels in clips])
    label = np.array([i for labels in clips for i in (labels or (none,))])
    return np.bincount(owner, weights=1 / np.bincount(label)[label], minlength=len(clips)).astype(np.float64)
