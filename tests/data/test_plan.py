from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from atgnn.data.index import SplitIndex, read_splits
from atgnn.data.plan import EvaluationPlan, TrainingPlan, balanced_weights

CLIPS = [["a"]] * 20 + [["b"]] * 4 + [["a", "c"]] * 2 + [[]]


@pytest.fixture
def splits(write_clips: Callable[..., Path]) -> list[SplitIndex]:
    return read_splits(write_clips({"one": CLIPS[:13], "two": CLIPS[13:]}), ["one", "two"])


@pytest.mark.parametrize("world_size", [1, 2, 3, 5, 40])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_evaluation_reads_every_clip_once(splits: list[SplitIndex], world_size: int, batch_size: int) -> None:
    plans = [EvaluationPlan(splits, batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    draws = [plan.draws(0) for plan in plans]
    assert len({len(plan) for plan in plans}) == len({len(part) for part in draws}) == 1
    assert -(-len(draws[0]) // batch_size) == len(plans[0])
    together = np.concatenate(draws)
    assert together[together >= 0].tolist() == list(range(27))


@pytest.mark.parametrize(("world_size", "steps"), [(1, None), (2, None), (3, 2), (2, 11), (5, None), (40, None)])
@pytest.mark.parametrize("balance", [False, True])
def test_training_takes_the_announced_steps(
    splits: list[SplitIndex], world_size: int, steps: int | None, balance: bool
) -> None:
    plans = [
        TrainingPlan(splits, 2, steps=steps, balance=balance, seed=3, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    expected = steps or max(1, 27 // (2 * world_size))
    assert {len(plan) for plan in plans} == {expected}
    draws = np.concatenate([plan.draws(7) for plan in plans])
    assert len(draws) == expected * 2 * world_size
    assert draws.min() >= 0
    assert draws.max() < 27
    if not balance:
        counts = Counter(draws.tolist())
        assert max(counts.values()) - min(counts[n] for n in range(27)) <= 1


def test_the_order_follows_seed_and_epoch(splits: list[SplitIndex]) -> None:
    first = TrainingPlan(splits, 4, seed=1).draws(0).tolist()
    assert first == TrainingPlan(splits, 4, seed=1).draws(0).tolist()
    assert first != TrainingPlan(splits, 4, seed=1).draws(1).tolist()
    assert first != TrainingPlan(splits, 4, seed=2).draws(0).tolist()


def test_no_clip_is_left_out_for_ever(splits: list[SplitIndex]) -> None:
    plan = TrainingPlan(splits, 8)
    assert {n for epoch in range(20) for n in plan.draws(epoch).tolist()} == set(range(27))


def test_shards_are_read_front_to_back(splits: list[SplitIndex]) -> None:
    draws = TrainingPlan(splits, 27).draws(0)
    # 8 shards, one of them in two pieces.
    assert (np.diff(draws) != 1).sum() <= 8


def test_weights_are_sums_of_one_over_count(splits: list[SplitIndex]) -> None:
    expected = [1 / 22] * 20 + [1 / 4] * 4 + [1 / 22 + 1 / 2] * 2 + [1]
    np.testing.assert_allclose(balanced_weights(splits), expected)


def test_balanced_training_shows_labels_equally_often(splits: list[SplitIndex]) -> None:
    plan = TrainingPlan(splits, 9, steps=3, balance=True)
    counts = np.bincount(np.concatenate([plan.draws(epoch) for epoch in range(200)]), minlength=27) / (200 * 27)
    weights = balanced_weights(splits)
    np.testing.assert_allclose(counts, weights / weights.sum(), atol=0.01)
