"""What a source lists before anything is decoded: its clips and, if it has one, its vocabulary."""

from __future__ import annotations

import csv
import mimetypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePath

import soundfile

from atgnn.errors import InputError


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording of a source.

    Attributes:
        file: where its sound is, or should be.
        name: how the source calls it; unique in the source.
        labels: what is heard in it; may be empty.
        group: clips of one group (one recording session, one author) never lie in different splits.
        fold: its part in cross-validation.
        split: its part as the source assigns it.
    """

    file: Path
    name: str
    labels: tuple[str, ...]
    group: str | None = None
    fold: str | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """The clips of a source.

    Attributes:
        clips: in the order of the source.
        labels: its own vocabulary, in its own order; None if it has none.
        notes: what a user should know of it, each a sentence.
    """

    clips: list[Clip]
    labels: list[str] | None = None
    notes: list[str] = field(default_factory=list)


def read_table(
    path: Path, columns: Sequence[str], *, filled: Sequence[str] | None = None, header: bool = True
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file in UTF-8, each with its line number; cells are stripped, and empty where a line ends early.

    Args:
        path: the file.
        columns: names that its first line must hold; or all names, where there is no such line.
        filled: columns that may not be empty; all of ``columns`` by default.
        header: whether the first line names the columns; without it, lines that begin with '#' are comments.

    Raises:
        InputError: while iterating, if it is no such file, a column is missing, or a line does not fit.
    """
    filled = columns if filled is None else filled
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = file if header else ("\n" if line.startswith("#") else line for line in file)
            rows = csv.DictReader(lines, None if header else columns, strict=True, skipinitialspace=True)
            missing = [column for column in columns if column not in (rows.fieldnames or ())]
            if missing:
                raise InputError(
                    f"expected the columns {' and '.join(columns)}, "
                    f"got {', '.join(rows.fieldnames or ()) or 'an empty file'} in '{path}'; "
                    f"add {' and '.join(missing)}"
                )
            for row in rows:
                cells = {column: (cell or "").strip() for column, cell in row.items() if isinstance(column, str)}
                if None in row or not all(cells[column] for column in filled):
                    raise InputError(
                        f"expected {' and '.join(filled)} and one cell per column, got something else in "
                        f"line {rows.line_num} of '{path}'; quote labels that hold a comma"
                    )
                yield rows.line_num, cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"expected a CSV file in UTF-8, got '{path}' ({error}); correct it") from error


def is_sound(name: str) -> bool:
    """Whether a file's name says that it is a sound; also in formats that decoding will refuse by name."""
    if name.startswith("."):
        return False
    kind, _ = mimetypes.guess_type(name)
    return (kind or "").startswith("audio/") or is_readable(name)


def is_readable(name: str) -> bool:
    """Whether a file's name says that libsndfile reads it."""
    return PurePath(name).suffix[1:].upper() in _formats()


@cache
def _formats() -> set[str]:
    return {"OPUS", *soundfile.available_formats()}
