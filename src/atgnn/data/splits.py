"""Which split each clip belongs to: as the source says, or drawn so that no group is divided."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from atgnn.data.listing import Clip
from atgnn.errors import InputError

SplitBy = Literal["auto", "split", "fold", "group"]
SPLIT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


def name_splits(clips: Sequence[Clip], split_by: SplitBy, fractions: Mapping[str, float], seed: int) -> list[str]:
    """Name the split of each clip.

    Args:
        clips: what the source lists.
        split_by: "split" takes the source's own splits, "fold" makes fold0, fold1, … of its folds, "group" draws
            splits, and "auto" takes the source's own splits if it has them and draws otherwise.
        fractions: the share of clips of each split, where splits are drawn.
        seed: of the draw.

    Raises:
        InputError: if the column is missing or empty for some clip, or a group would lie in two splits.
    """
    if split_by == "auto":
        split_by = "split" if any(clip.split for clip in clips) else "group"
    if split_by == "group":
        return draw_splits(clips, fractions, seed)
    names = []
    for clip in clips:
        value = clip.split if split_by == "split" else clip.fold
        if not value:
            raise InputError(
                f"expected a {split_by} for every clip, got none for '{clip.name}'; "
                f"fill in the column {split_by} or choose another --split-by"
            )
        names.append(f"fold{value}" if split_by == "fold" else value)
        if not SPLIT_NAME.fullmatch(names[-1]):
            raise InputError(
                f"expected a {split_by} of letters, digits, '-' and '_', got '{value}' for '{clip.name}'; rename it"
            )
    _keep_groups(clips, names)
    return names


def draw_splits(clips: Sequence[Clip], fractions: Mapping[str, float], seed: int) -> list[str]:
    """Draw splits group by group, so that each label is shared out as ``fractions`` say, as far as groups allow.

    The rarest label is dealt first, each of its groups to the split that lacks most of it.

    Args:
        clips: what the source lists; one without group is a group of its own.
        fractions: share of the clips of each split; positive, and together at most 1.
        seed: of the order of groups and of ties.

    Source: Sechidis et al., "On the Stratification of Multi-Label Data", ECML PKDD 2011.
    """
    fractions = {name: fraction for name, fraction in fractions.items() if fraction > 0}
    contents: dict[str, Counter[str]] = defaultdict(Counter)
    for clip in clips:
        # The empty name counts the clips themselves.
        contents[_group(clip)].update(["", *clip.labels])
    rng = np.random.default_rng(seed)
    groups = [list(contents)[i] for i in rng.permutation(len(contents))]
    left: Counter[str] = sum(contents.values(), Counter())
    wanted = {name: {label: fraction * count for label, count in left.items()} for name, fraction in fractions.items()}
    split_of: dict[str, str] = {}
    while len(split_of) < len(groups):
        label = min((label for label in left if left[label] > 0), key=lambda name: (left[name], name))
        for group in sorted(
            (g for g in groups if g not in split_of and contents[g][label]), key=lambda g: -contents[g][label]
        ):
            split = max(wanted, key=lambda name: (wanted[name][label], wanted[name][""]))
            split_of[group] = split
            for part, count in contents[group].items():
                wanted[split][part] -= count
                left[part] -= count
    return [split_of[_group(clip)] for clip in clips]


def _keep_groups(clips: Sequence[Clip], names: Sequence[str]) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for clip, name in zip(clips, names, strict=True):
        first, split = seen.setdefault(_group(clip), (clip.name, name))
        if split != name:
            raise InputError(
                f"expected each group in one split, got group '{clip.group}' in '{split}' ('{first}') "
                f"and '{name}' ('{clip.name}'); move its clips into one split"
            )


def _group(clip: Clip) -> str:
    return f"group {clip.group}" if clip.group else f"clip {clip.name}"
