"""The index of a split: which shards there are, what is in them, and how to tell that they are whole."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from atgnn.audio.files import MAX_SAMPLE_RATE
from atgnn.data.labels import Vocabulary
from atgnn.errors import InputError

VERSION = 1
MAX_BYTES = 1 << 28
# Names are joined to the split's folder and opened: nothing else than a plain tar next to the index may come out.
SHARD_NAME = re.compile(r"[0-9]{6}\.tar")


@dataclass(frozen=True, slots=True)
class Shard:
    """One tar of a split.

    Attributes:
        name: file name next to the index.
        bytes: size of the file.
        sha256: digest of the file.
        targets: for each clip, in the order of the tar, the positions of its labels in the vocabulary.
    """

    name: str
    bytes: int
    sha256: str
    targets: list[list[int]]

    @property
    def clips(self) -> int:
        """Number of clips in the tar."""
        return len(self.targets)


@dataclass(frozen=True)
class SplitIndex:
    """What ``index.json`` says of one split.

    Attributes:
        directory: folder of the index and its shards.
        sample_rate: of every clip, in Hz.
        labels: vocabulary in order, the same in all splits.
        shards: tars in order.
        seconds: length of all clips together.
        recipe: how the shards were made, in plain values.
        address: of the folder that holds the split, where its shards have to be fetched from there.
    """

    directory: Path
    sample_rate: int
    labels: list[str]
    shards: list[Shard]
    seconds: float
    recipe: dict[str, Any] = field(default_factory=dict)
    address: str = ""

    @property
    def name(self) -> str:
        """Name of the split."""
        return self.directory.name

    @property
    def clips(self) -> int:
        """Number of clips in the split."""
        return sum(shard.clips for shard in self.shards)

    @property
    def label_counts(self) -> list[int]:
        """For each label, the clips that carry it."""
        positions = [i for shard in self.shards for labels in shard.targets for i in labels]
        counts = np.bincount(np.asarray(positions, dtype=np.int64), minlength=len(self.labels))
        return [int(count) for count in counts]

    @property
    def digest(self) -> str:
        """SHA-256 over vocabulary, rate and the digests of the shards."""
        parts = [self.name, self.sample_rate, self.labels, [shard.sha256 for shard in self.shards]]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def write(self) -> None:
        """Write ``index.json``, under a temporary name first."""
        content = {
            "version": VERSION,
            "split": self.name,
            "sample_rate": self.sample_rate,
            "clips": self.clips,
            "seconds": round(self.seconds, 3),
            "labels": self.labels,
            "label_counts": dict(zip(self.labels, self.label_counts, strict=True)),
            "recipe": self.recipe,
            "shards": [asdict(shard) | {"clips": shard.clips} for shard in self.shards],
        }
        unfinished = self.directory / "index.json.tmp"
        unfinished.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        unfinished.replace(self.directory / "index.json")


@dataclass(frozen=True)
class ShardReport:
    """What was written or checked.

    Attributes:
        directory: folder of the splits.
        splits: one index for each split.
        notes: what else there is to say, each a line.
    """

    directory: Path
    splits: list[SplitIndex]
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line a split, then the notes."""
        lines = [
            f"{split.name}: {split.clips} clips, {split.seconds / 60:.1f} min, {len(split.shards)} shards"
            for split in self.splits
        ]
        return "\n".join([f"{self.directory}: {len(self.splits[0].labels)} labels", *lines, *self.notes])


def read_index(directory: Path) -> SplitIndex:
    """Read and validate the index of one split.

    Args:
        directory: folder of the split.

    Raises:
        InputError: if there is no index, or it is cut short, of another version, or contradicts itself.
    """
    path = directory / "index.json"
    if not path.is_file():
        raise InputError(f"expected shards, got no index.json in '{directory}'; make them with atgnn shards write")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"expected an index below {MAX_BYTES} bytes, got a larger '{path}'; write the shards again")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["version"]
        if version != VERSION:
            raise InputError(f"expected shards of version {VERSION}, got {version} in '{path}'; write the shards again")
        labels = Vocabulary([_text(label) for label in content["labels"]]).labels
        index = SplitIndex(
            directory=directory,
            sample_rate=_whole(content["sample_rate"]),
            labels=labels,
            shards=[_shard(shard, len(labels)) for shard in content["shards"]],
            seconds=float(content["seconds"]),
            recipe=dict(content["recipe"]),
        )
        if not 1 <= index.sample_rate <= MAX_SAMPLE_RATE:
            raise ValueError(f"no sound has {index.sample_rate} Hz")
        if index.clips != content["clips"] or list(content["label_counts"].values()) != index.label_counts:
            raise ValueError("its clips do not add up")
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(
            f"expected a whole index, got one that is damaged in '{path}' ({error}); write the shards again"
        ) from error
    if index.clips == 0:
        raise InputError(f"expected clips, got an empty split in '{directory}'; write the shards again")
    return index


def find_splits(directory: Path) -> list[str]:
    """Names of the splits below ``directory``, sorted."""
    return sorted(path.parent.name for path in directory.glob("*/index.json"))


def read_splits(directory: Path, names: Sequence[str] | None = None) -> list[SplitIndex]:
    """Read several splits that belong together.

    Args:
        directory: folder of the splits.
        names: which of them; all by default.

    Raises:
        InputError: if one is absent or damaged, or their vocabularies or sample rates differ.
    """
    there = find_splits(directory)
    if not there:
        raise InputError(f"expected shards, got none in '{directory}'; make them with atgnn shards write")
    names = there if names is None else list(names)
    absent = [name for name in names if name not in there]
    if absent:
        raise InputError(
            f"expected one of the splits {', '.join(there)}, got {', '.join(absent)} for '{directory}'; "
            "name a split that is there"
        )
    splits = [read_index(directory / name) for name in names]
    for split in splits[1:]:
        if (split.labels, split.sample_rate) != (splits[0].labels, splits[0].sample_rate):
            raise InputError(
                f"expected the same labels and sample rate in all splits, got different ones in '{splits[0].name}' "
                f"and '{split.name}' of '{directory}'; write all splits in one go"
            )
    return splits


def _shard(content: dict[str, Any], labels: int) -> Shard:
    shard = Shard(
        name=_text(content["name"]),
        bytes=_whole(content["bytes"]),
        sha256=_text(content["sha256"]),
        targets=[[_whole(i) for i in positions] for positions in content["targets"]],
    )
    # A position of any size would count as many labels.
    if any(i >= labels for positions in shard.targets for i in positions):
        raise ValueError(f"'{shard.name}' has labels beyond the vocabulary")
    if not SHARD_NAME.fullmatch(shard.name) or shard.clips != content["clips"]:
        raise ValueError(f"no shard can be called '{shard.name}' with {content['clips']} clips")
    return shard


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"expected a whole number, got {value!r}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {value!r}")
    return value
