"""Clips that cannot be used: told of at once, counted by cause, and too many of them stop the run."""

from __future__ import annotations

import logging
from collections import Counter
from typing import NamedTuple

from atgnn.errors import InputError

log = logging.getLogger(__name__)


class Fault(NamedTuple):
    """One clip that was left out: which, why in a word, and why in a sentence."""

    key: str
    cause: str
    reason: str


class Faults:
    """The faults of one epoch of one rank.

    Args:
        clips: of the epoch.
        max_fraction: share of them that may be bad.
    """

    def __init__(self, clips: int, max_fraction: float) -> None:
        self.causes: Counter[str] = Counter()
        self.keys: dict[str, list[str]] = {}
        self._clips, self._limit = clips, max_fraction

    def add(self, fault: Fault) -> None:
        """Count a clip; the first of each cause is told at once, then every thousandth.

        Raises:
            InputError: if there are too many.
        """
        self.causes[fault.cause] += 1
        keys = self.keys.setdefault(fault.cause, [])
        if len(keys) < 5:
            keys.append(fault.key)
        if self.causes[fault.cause] % 1000 == 1:
            number = self.causes[fault.cause]
            log.warning("clip '%s' is left out, number %d (%s): %s", fault.key, number, fault.cause, fault.reason)
        if self.causes.total() > self._limit * self._clips:
            raise InputError(
                f"expected at most {self._limit:.2%} of {self._clips} clips to be bad, got {self} "
                f"(the last: {fault.reason}); run atgnn shards check, or raise max_bad_fraction"
            )

    def report(self) -> None:
        """Say at the end of an epoch what was left out."""
        if self.causes:
            log.warning("left out of %d clips: %s", self._clips, self)

    def __str__(self) -> str:
        """Number and first keys by cause, the most frequent first."""
        return "; ".join(
            f"{count} {cause} ({', '.join(self.keys[cause])}{', …' if count > len(self.keys[cause]) else ''})"
            for cause, count in self.causes.most_common()
        )
