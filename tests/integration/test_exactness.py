"""Every clip once in evaluation, the announced batches in training, for any ranks × workers × shards × batch size."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import get_worker_info
from torch.utils.data._utils import worker as torch_worker

from atgnn.audio.files import encode_flac
from atgnn.data.archive import Sample, write_shard
from atgnn.data.index import SplitIndex, read_splits
from atgnn.data.plan import EvaluationPlan, Plan, TrainingPlan, balanced_weights
from atgnn.data.stream import ShardLoader, ShardStream

CLIPS = 37
RANKS, WORKERS, SHARDS, BATCHES = (1, 2, 3, 4), (0, 1, 2, 3), tuple(range(1, 18)), (3, 8)
FLAC = encode_flac(torch.full((16,), 0.5), 16000)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[SplitIndex]]:
    """The same 37 clips in 1 to 17 shards of unequal size."""
    root, splits = tmp_path_factory.mktemp("exactness"), {}
    labels = ["abc"[n % 3 if n % 7 else 2] for n in range(CLIPS)]
    samples = [Sample(f"{n:02d}", FLAC, {"labels": [labels[n]], "duration": 0.001, "source": ""}) for n in range(CLIPS)]
    for count in SHARDS:
        size = -(-CLIPS // count)
        while -(-CLIPS // size) < count:  # 37 clips in equal shards give some numbers only: the last ones are merged
            size -= 1
        folder = root / f"{count:02d}" / "s"
        folder.parent.mkdir()
        parts = [samples[i : i + size] for i in range(0, CLIPS, size)]
        parts[count - 1 :] = [[sample for part in parts[count - 1 :] for sample in part]]
        _write_parts(folder, parts)
        splits[count] = read_splits(folder.parent)
        assert len(splits[count][0].shards) == count
    return splits


def _write_parts(folder: Path, parts: list[list[Sample]]) -> None:
    folder.mkdir()
    written = [write_shard(folder / f"{n:06d}.tar", part, ["a", "b", "c"]) for n, part in enumerate(parts)]
    SplitIndex(folder, 16000, ["a", "b", "c"], [shard for shard, _ in written], 1.0).write()


def read(splits: list[SplitIndex], plan: Plan, workers: int, monkeypatch: pytest.MonkeyPatch, **options: int) -> list:
    """Batches as a DataLoader with so many workers gives them, without starting one."""
    stream = ShardStream(splits, plan, crop_seconds=0.001, **options)
    if workers == 0:
        return [batch for batch, _ in stream]
    parts = []
    for worker in range(workers):
        info = torch_worker.WorkerInfo(id=worker, num_workers=workers, seed=0, dataset=stream)
        monkeypatch.setattr(torch_worker, "_worker_info", info)
        assert get_worker_info() is info
        parts.append([batch for batch, _ in stream])
    monkeypatch.setattr(torch_worker, "_worker_info", None)
    return [batch for turn in itertools.zip_longest(*parts) for batch in turn if batch is not None]


def real(batches: list) -> list[str]:
    return [key for batch in batches for key, here in zip(batch["key"], batch["mask"].tolist(), strict=True) if here]


@pytest.mark.slow
def test_every_clip_is_seen_exactly_once(
    shards: dict[int, list[SplitIndex]], monkeypatch: pytest.MonkeyPatch, figure: Callable[..., None]
) -> None:
    expected = [f"{n:02d}" for n in range(CLIPS)]
    combinations = list(itertools.product(RANKS, WORKERS, SHARDS, (1, *BATCHES, 40)))
    for ranks, workers, count, size in combinations:
        plans = [EvaluationPlan(shards[count], size, rank=rank, world_size=ranks) for rank in range(ranks)]
        batches = [read(shards[count], plan, workers, monkeypatch) for plan in plans]
        assert {len(part) for part in batches} == {len(plans[0])}
        seen = [key for part in batches for key in real(part)]
        assert sorted(seen) == expected, (ranks, workers, count, size)
    figure("exactness", f"clips seen exactly once in {len(combinations)} combinations")


@pytest.mark.parametrize("balance", [False, True])
def test_training_takes_the_announced_batches(
    shards: dict[int, list[SplitIndex]], monkeypatch: pytest.MonkeyPatch, balance: bool
) -> None:
    for ranks, workers, count, size in itertools.product(RANKS, WORKERS, (1, 5, 17), BATCHES):
        plans = [
            TrainingPlan(shards[count], size, balance=balance, rank=rank, world_size=ranks) for rank in range(ranks)
        ]
        batches = [read(shards[count], plan, workers, monkeypatch, shuffle=10) for plan in plans]
        assert [len(part) for part in batches] == [CLIPS // (size * ranks)] * ranks
        assert all(len(batch["key"]) == size for part in batches for batch in part)
        counts = Counter(key for part in batches for key in real(part))
        if balance:
            draws, weights = sum(counts.values()), balanced_weights(shards[count])
            share = draws * weights / weights.sum()
            assert all(abs(counts[f"{n:02d}"] - share[n]) < 1 for n in range(CLIPS))
        else:
            assert max(counts.values()) == 1


def test_ranks_read_disjoint_shards(shards: dict[int, list[SplitIndex]]) -> None:
    """Ranks share no clip, and no more shards than the borders between them cut, and the border of the epoch."""
    starts = np.cumsum([0] + [shard.clips for shard in shards[17][0].shards])
    for ranks in RANKS:
        plans = [TrainingPlan(shards[17], 2, rank=rank, world_size=ranks) for rank in range(ranks)]
        opened = Counter(
            shard for plan in plans for shard in set(np.searchsorted(starts, plan.draws(3), side="right").tolist())
        )
        assert sum(opened.values()) - len(opened) <= ranks


def test_order_follows_seed_epoch_and_place_alone(
    shards: dict[int, list[SplitIndex]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def order(seed: int = 0, epoch: int = 0, ranks: int = 2, rank: int = 0, workers: int = 2) -> tuple[str, ...]:
        plan = TrainingPlan(shards[5], 3, seed=seed, rank=rank, world_size=ranks)
        stream = ShardStream(shards[5], plan, crop_seconds=0.001, shuffle=10, seed=seed)
        stream.set_epoch(epoch)
        monkeypatch.setattr(np.random, "seed", None)  # nothing but its own generators
        torch.manual_seed(len(seen))
        keys: list[str] = []
        for worker in range(workers):
            info = torch_worker.WorkerInfo(id=worker, num_workers=workers, seed=len(seen), dataset=stream)
            monkeypatch.setattr(torch_worker, "_worker_info", info)
            keys += [key for batch, _ in stream for key in batch["key"]]
        return tuple(keys)

    seen: list[tuple[str, ...]] = []
    for change in ({}, {"seed": 1}, {"epoch": 1}, {"ranks": 3}, {"rank": 1}, {"workers": 3}):
        seen.append(order(**change))
        assert order(**change) == seen[-1]
    assert len(set(seen)) == len(seen)


def test_balanced_draws_have_the_distribution_of_a_weighted_sampler(shards: dict[int, list[SplitIndex]]) -> None:
    """Expected draws equal those of torch's WeightedRandomSampler, and vary less."""
    weights = balanced_weights(shards[17])
    expected, epochs = weights / weights.sum(), 400
    counts = np.zeros((epochs, CLIPS))
    for epoch in range(epochs):
        for rank in range(3):
            plan = TrainingPlan(shards[17], 2, balance=True, rank=rank, world_size=3)
            np.add.at(counts[epoch], plan.draws(epoch), 1)
    draws = counts[0].sum()
    assert np.abs(counts - draws * expected).max() < 1  # each epoch, to within one draw
    error = counts.mean(0) - draws * expected
    # Draws of one clip in one epoch take one of two neighbouring whole numbers: their variance is at most 1/4.
    assert np.abs(error).max() < 5 * np.sqrt(0.25 / epochs)
    generator = torch.Generator().manual_seed(0)
    sampler = torch.utils.data.WeightedRandomSampler(weights, epochs * int(draws), generator=generator)
    exact = np.bincount(list(sampler), minlength=CLIPS)
    chi_square = ((exact - counts.sum(0)) ** 2 / (epochs * draws * expected)).sum()
    assert chi_square < 68  # 36 degrees of freedom, p = 0.001


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "count", "size"), [(1, 17, 8), (2, 5, 3), (3, 2, 5)])
def test_real_workers_give_the_same_batches(
    shards: dict[int, list[SplitIndex]], monkeypatch: pytest.MonkeyPatch, workers: int, count: int, size: int
) -> None:
    for plan, shuffle in ((EvaluationPlan(shards[count], size, rank=1, world_size=2), 0),
                          (TrainingPlan(shards[count], size, balance=True), 10)):  # fmt: skip
        alone = read(shards[count], plan, workers, monkeypatch, shuffle=shuffle)
        loader = ShardLoader(ShardStream(shards[count], plan, crop_seconds=0.001, shuffle=shuffle), workers)
        assert [batch["key"] for batch in loader] == [batch["key"] for batch in alone]
        for start in range(len(loader)):
            other = ShardLoader(ShardStream(shards[count], plan, crop_seconds=0.001, shuffle=shuffle), workers)
            other.load_state_dict(loader.state_dict() | {"batches": start})
            rest = [batch["key"] for batch in other]
            assert rest == [batch["key"] for batch in alone[start:]]
