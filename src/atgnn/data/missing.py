"""Clips that had to be left out: listed in a table, counted, and limited."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from atgnn.errors import InputError

NAMED = 5


class Missing(NamedTuple):
    """A clip without usable sound; ``cause`` is "absent" or "undecodable", ``reason`` a sentence."""

    name: str
    split: str
    cause: str
    reason: str


def check_missing(missing: Sequence[Missing], splits: Sequence[str], max_missing: float, table: Path) -> None:
    """Write the clips left out into a table, and refuse them if they are too many.

    Args:
        missing: clips left out.
        splits: the split of every clip of the source.
        max_missing: share of the clips that may be left out.
        table: CSV file to write; none is left where no clip is missing.

    Raises:
        InputError: if more clips are missing, or all of a split.
    """
    table.unlink(missing_ok=True)
    if missing:
        with table.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([Missing._fields, *missing])
    allowed = int(max_missing * len(splits) + 1e-9)
    if len(missing) == 1 > allowed:
        raise InputError(f"{missing[0].reason}, or allow some with --max-missing")
    if len(missing) > allowed:
        names = ", ".join(f"'{clip.name}'" for clip in missing[:NAMED]) + (", …" if len(missing) > NAMED else "")
        raise InputError(
            f"expected at most {allowed} of {len(splits)} files to be absent or undecodable, "
            f"got {len(missing)}: {names} (all in '{table}'); correct them or allow more with --max-missing"
        )
    used = Counter(splits) - Counter(clip.split for clip in missing)
    for split in sorted(set(splits) - set(used)):
        raise InputError(f"expected clips in every split, got none in '{split}'; add clips or drop the split")


def count_missing(missing: Sequence[Missing]) -> list[str]:
    """One line for each split and cause."""
    counts = Counter((clip.split, clip.cause) for clip in missing)
    return [f"{split}: {count} {cause} clips left out, see missing.csv" for (split, cause), count in counts.items()]
