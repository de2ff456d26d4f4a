from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from atgnn.data.listing import Clip
from atgnn.data.splits import draw_splits, name_splits
from atgnn.errors import InputError

FRACTIONS = {"train": 0.7, "val": 0.15, "test": 0.15}


def clip(name: str, *labels: str, group: str | None = None, fold: str | None = None, split: str | None = None) -> Clip:
    return Clip(Path(name), name, labels, group, fold, split)


def test_the_sources_own_splits_and_folds() -> None:
    clips = [clip("a", split="train", fold="0"), clip("b", split="test", fold="1")]
    assert name_splits(clips, "auto", FRACTIONS, 0) == ["train", "test"]
    assert name_splits(clips, "split", FRACTIONS, 0) == ["train", "test"]
    assert name_splits(clips, "fold", FRACTIONS, 0) == ["fold0", "fold1"]


def test_drawn_splits_keep_groups_and_share_labels_out() -> None:
    rng = np.random.default_rng(0)
    clips = [
        clip(f"{n}", *(label for label, p in (("common", 0.6), ("rare", 0.1)) if rng.random() < p), group=f"{n // 3}")
        for n in range(600)
    ]
    names = draw_splits(clips, FRACTIONS, 0)
    assert names == draw_splits(clips, FRACTIONS, 0)
    assert names != draw_splits(clips, FRACTIONS, 1)
    groups = defaultdict(set)
    for c, name in zip(clips, names, strict=True):
        groups[c.group].add(name)
    assert all(len(splits) == 1 for splits in groups.values())
    for label in ("common", "rare"):
        counts = Counter(name for c, name in zip(clips, names, strict=True) if label in c.labels)
        for split, fraction in FRACTIONS.items():
            assert counts[split] / counts.total() == pytest.approx(fraction, abs=0.03)


def test_a_split_of_no_share_is_left_out() -> None:
    names = draw_splits([clip(f"{n}", "x") for n in range(10)], {"train": 0.8, "val": 0.2, "test": 0.0}, 0)
    assert Counter(names) == {"train": 8, "val": 2}


def test_a_group_in_two_splits_is_refused() -> None:
    clips = [clip("a", group="g", split="train"), clip("b", group="g", split="test")]
    with pytest.raises(InputError, match=r"expected each group in one split, got group 'g' in 'train' \('a'\) and 'te"):
        name_splits(clips, "auto", FRACTIONS, 0)
    clips = [clip("a", group="g", fold="0"), clip("b", group="g", fold="1")]
    with pytest.raises(InputError, match="got group 'g' in 'fold0'"):
        name_splits(clips, "fold", FRACTIONS, 0)


def test_missing_and_unusable_names_are_refused() -> None:
    with pytest.raises(InputError, match="expected a split for every clip, got none for 'b'; fill in the column split"):
        name_splits([clip("a", split="train"), clip("b")], "auto", FRACTIONS, 0)
    with pytest.raises(InputError, match="expected a fold for every clip, got none for 'a'"):
        name_splits([clip("a")], "fold", FRACTIONS, 0)
    with pytest.raises(InputError, match=r"got '\.\./up' for 'a'; rename it"):
        name_splits([clip("a", split="../up")], "split", FRACTIONS, 0)
