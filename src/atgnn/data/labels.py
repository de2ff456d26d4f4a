"""A vocabulary of labels in a fixed order, from a file or from the clips that carry them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from atgnn.data.listing import read_table
from atgnn.errors import InputError


class Vocabulary:
    """The labels of a data set, in the order of the network's outputs.

    Args:
        labels: S different, non-empty names.

    Raises:
        InputError: if there is no label, an empty one, or one twice.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = list(labels)
        self._index = {label: i for i, label in enumerate(self.labels)}
        if not self.labels or not all(self.labels):
            raise InputError(f"expected label names, got {self.labels}; give every clip class a non-empty name")
        if len(self._index) < len(self.labels):
            twice = [label for label, count in Counter(self.labels).items() if count > 1]
            raise InputError(f"expected each label once, got {twice} more than once; remove the copies")

    def __len__(self) -> int:
        return len(self.labels)

    def indices(self, labels: Iterable[str], name: str) -> list[int]:
        """Positions of ``labels``, ascending and without repeats.

        Args:
            labels: names out of the vocabulary.
            name: the clip, as errors call it.

        Raises:
            InputError: if a name is not in the vocabulary.
        """
        try:
            return sorted({self._index[label] for label in labels})
        except KeyError as error:
            raise InputError(
                f"expected one of the {len(self)} labels of the vocabulary, got '{error.args[0]}' in clip '{name}'; "
                "correct the name or add it to the vocabulary",
                cause="labels",
            ) from None


def read_vocabulary(file: Path) -> Vocabulary:
    """Read labels in order: one a line of a text file, or the .csv table of classes that a data set comes with.

    Raises:
        InputError: if the file is absent, of another form, or names no label or one twice.
    """
    if file.suffix == ".csv":
        return Vocabulary(list(read_classes(file).values()))
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"expected a text file with one label a line, got '{file}' ({error}); correct it") from error
    labels = [line.strip() for line in lines if line.strip()]
    if not labels:
        raise InputError(f"expected one label a line, got nothing in '{file}'; write the labels into it")
    return Vocabulary(labels)


def read_classes(path: Path) -> dict[str, str]:
    """Names of classes by their mid, in the order of their index, from FSD50K's or AudioSet's own table.

    FSD50K's has the columns index, name, mid and no line that says so; AudioSet's has index, mid, display_name.

    Raises:
        InputError: if it is no such table.
    """
    fsd50k, audioset = ("index", "name", "mid"), ("index", "mid", "display_name")
    rows = [row for _, row in read_table(path, fsd50k, header=False)]
    name = "name"
    if rows and rows[0]["index"] == "index":
        rows, name = [row for _, row in read_table(path, audioset)], "display_name"
    if not rows or sorted(row["index"] for row in rows) != sorted(map(str, range(len(rows)))):
        raise InputError(f"expected classes numbered from 0 in '{path}', got other numbers; take the published table")
    return {row["mid"]: row[name] for row in sorted(rows, key=lambda row: int(row["index"]))}


def common_labels(clips: Iterable[Iterable[str]], min_clips: int) -> list[str]:
    """Names that at least ``min_clips`` clips carry, sorted.

    Args:
        clips: the labels of each clip.
        min_clips: clips that a label needs to be kept.

    Raises:
        InputError: if no label is left.
    """
    counts = Counter(label for labels in clips for label in set(labels))
    kept = sorted(label for label, count in counts.items() if count >= min_clips)
    if not kept:
        most = max(counts.values(), default=0)
        raise InputError(f"expected a label carried by {min_clips} clips, got at most {most}; lower --min-clips")
    return kept
