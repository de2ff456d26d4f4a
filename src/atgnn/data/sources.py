"""Clip records read from what people have: a folder per label, or a CSV manifest."""

from __future__ import annotations

import csv
import mimetypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import soundfile

from atgnn.errors import InputError


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording of a source, not yet decoded.

    Attributes:
        file: where its sound is.
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


def read_source(source: Path) -> list[Clip]:
    """List the clips of a source, by the first reader that knows its layout.

    Args:
        source: a CSV manifest, a folder with ``manifest.csv`` in it, or a folder with one folder per label.

    Raises:
        InputError: if the source is absent, of no known layout, or without clips.
    """
    for knows, read in READERS:
        if knows(source):
            clips = read(source)
            if not clips:
                raise InputError(f"expected clips, got none in '{source}'; add recordings to it")
            return clips
    if not source.exists():
        raise InputError(f"expected a folder or a CSV manifest, got '{source}', which does not exist; correct the path")
    raise InputError(f"expected a folder or a CSV manifest, got '{source}'; give one of these")


def read_manifest(source: Path) -> list[Clip]:
    """Read a CSV file with the columns file, labels and, if it likes, group, fold and split.

    Labels are separated by ';'; paths are relative to the manifest; other columns are ignored.

    Args:
        source: the CSV file, or the folder in which it is called ``manifest.csv``.

    Raises:
        InputError: if it is not such a file, a needed column is missing, or a clip is listed twice.
    """
    path = source / "manifest.csv" if source.is_dir() else source
    clips: dict[str, Clip] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, strict=True)
            missing = [column for column in ("file", "labels") if column not in (rows.fieldnames or ())]
            if missing:
                raise InputError(
                    f"expected the columns file and labels, got {', '.join(rows.fieldnames or ()) or 'an empty file'} "
                    f"in '{path}'; add {' and '.join(missing)}"
                )
            for row in rows:
                clip = _clip(row, path, rows.line_num)
                if clip.name in clips:
                    raise InputError(
                        f"expected each file once, got '{clip.name}' again in line {rows.line_num} of '{path}'; "
                        "put all its labels into one line, separated by ';'"
                    )
                clips[clip.name] = clip
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"expected a CSV file in UTF-8, got '{path}' ({error}); correct it") from error
    return list(clips.values())


def read_folders(source: Path) -> list[Clip]:
    """Read a folder with one folder per label: the folder's name is the label of every sound file in it."""
    return [
        Clip(file=file, name=file.relative_to(source).as_posix(), labels=(folder.name,))
        for folder in sorted(source.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.name.startswith(".") and _sounds(file)
    ]


def _clip(row: dict[str | None, str | None], manifest: Path, line: int) -> Clip:
    cells = {column: (cell or "").strip() for column, cell in row.items() if isinstance(column, str)}
    if None in row or not cells["file"]:
        raise InputError(
            f"expected a file and one cell per column, got something else in line {line} of '{manifest}'; "
            "quote labels that hold a comma"
        )
    labels = dict.fromkeys(label.strip() for label in cells["labels"].split(";"))
    return Clip(
        file=manifest.parent / cells["file"],
        name=cells["file"],
        labels=tuple(label for label in labels if label),
        group=cells.get("group") or None,
        fold=cells.get("fold") or None,
        split=cells.get("split") or None,
    )


def _sounds(file: Path) -> bool:
    # Formats that libsndfile cannot read are listed too: decoding then says so, rather than losing them here.
    kind, _ = mimetypes.guess_type(file.name)
    return (kind or "").startswith("audio/") or file.suffix[1:].upper() in {"OPUS", *soundfile.available_formats()}


def _is_manifest(source: Path) -> bool:
    return source.is_file() or (source / "manifest.csv").is_file()


READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], list[Clip]]], ...] = (
    (_is_manifest, read_manifest),
    (Path.is_dir, read_folders),
)
"""Which layouts are known: a test of the path and its reader, tried in order."""
