"""Clips listed by what people have: FSD50K, AudioSet, a CSV manifest, or a folder per label."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from atgnn.data.datasets import is_audioset, is_fsd50k, read_audioset, read_fsd50k
from atgnn.data.listing import Clip, Listing, is_sound, read_table
from atgnn.errors import InputError


def read_source(source: Path) -> Listing:
    """List the clips of a source, by the first reader that knows its layout.

    Args:
        source: a CSV manifest, a folder with ``manifest.csv`` in it, FSD50K or AudioSet as they are published, or a
            folder with one folder per label.

    Raises:
        InputError: if the source is absent, of no known layout, or without clips.
    """
    for knows, read in READERS:
        if knows(source):
            listing = read(source)
            if not listing.clips:
                raise InputError(f"expected clips, got none in '{source}'; add recordings to it")
            return listing
    if not source.exists():
        raise InputError(f"expected a folder or a CSV manifest, got '{source}', which does not exist; correct the path")
    raise InputError(f"expected a folder or a CSV manifest, got '{source}'; give one of these")


def read_manifest(source: Path) -> Listing:
    """Read a CSV file with the columns file, labels and, if it likes, group, fold and split.

    Labels are separated by ';'; paths are relative to the manifest; other columns are ignored.

    Args:
        source: the CSV file, or the folder in which it is called ``manifest.csv``.

    Raises:
        InputError: if it is not such a file, a needed column is missing, or a clip is listed twice.
    """
    path = source / "manifest.csv" if source.is_dir() else source
    clips: dict[str, Clip] = {}
    for line, row in read_table(path, ("file", "labels"), filled=("file",)):
        name = row["file"]
        if name in clips:
            raise InputError(
                f"expected each file once, got '{name}' again in line {line} of '{path}'; "
                "put all its labels into one line, separated by ';'"
            )
        labels = dict.fromkeys(label.strip() for label in row["labels"].split(";"))
        group, fold, split = (row.get(column) or None for column in ("group", "fold", "split"))
        clips[name] = Clip(path.parent / name, name, tuple(filter(None, labels)), group, fold, split)
    return Listing(list(clips.values()))


def read_folders(source: Path) -> Listing:
    """Read a folder with one folder per label: the folder's name is the label of every sound file in it."""
    return Listing(
        [
            Clip(file=file, name=file.relative_to(source).as_posix(), labels=(folder.name,))
            for folder in sorted(source.iterdir())
            if folder.is_dir() and not folder.name.startswith(".")
            for file in sorted(folder.rglob("*"))
            if file.is_file() and is_sound(file.name)
        ]
    )


def _is_manifest(source: Path) -> bool:
    return source.is_file() or (source / "manifest.csv").is_file()


READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Listing]], ...] = (
    (_is_manifest, read_manifest),
    (is_fsd50k, read_fsd50k),
    (is_audioset, read_audioset),
    (Path.is_dir, read_folders),
)
"""Which layouts are known: a test of the path and its reader, tried in order."""
