"""FSD50K and AudioSet in the layouts in which they are published, complete or in part."""

from __future__ import annotations

import os
import re
from pathlib import Path

from atgnn.data.labels import read_classes
from atgnn.data.listing import Clip, Listing, is_readable, is_sound, read_table
from atgnn.errors import InputError

FSD50K_CLIPS = {"dev": 40_966, "eval": 10_231}
AUDIOSET_SEGMENTS = {"balanced_train": 22_160, "unbalanced_train": 2_041_789, "eval": 20_371}
# A YouTube id has 11 characters, '_' among them; behind it may stand where the segment begins (s or ms) and ends.
AUDIOSET_FILE = re.compile(r"Y?([A-Za-z0-9_-]{11})(?:_(\d+(?:\.\d+)?)(?:_[0-9.]+)?)?")


def is_fsd50k(source: Path) -> bool:
    """Whether ``source`` holds FSD50K's ground truth."""
    return (_of_fsd50k(source, "ground_truth") / "vocabulary.csv").is_file()


def read_fsd50k(source: Path) -> Listing:
    """Read FSD50K: splits train and val as ``dev.csv`` assigns them, test of ``eval.csv``, labels in its own order.

    Args:
        source: folder with ``FSD50K.ground_truth``, ``FSD50K.dev_audio`` and ``FSD50K.eval_audio``; their names may
            lack ``FSD50K.``.

    Raises:
        InputError: if a table cannot be read.

    Source: Fonseca et al., "FSD50K: An Open Dataset of Human-Labeled Sound Events", TASLP 2022.
    """
    truth = _of_fsd50k(source, "ground_truth")
    labels = list(read_classes(truth / "vocabulary.csv").values())
    clips: list[Clip] = []
    notes = _counted("FSD50K", "labels", 200, len(labels))
    for part, published in FSD50K_CLIPS.items():
        table, audio = truth / f"{part}.csv", _of_fsd50k(source, f"{part}_audio")
        columns = ("fname", "labels", "split") if part == "dev" else ("fname", "labels")
        rows = [row for _, row in read_table(table, columns)] if table.is_file() else []
        notes += _counted("FSD50K", f"{part} clips", published, len(rows))
        for row in rows:
            file = audio / f"{row['fname']}.wav"
            carried = tuple(label.strip() for label in row["labels"].split(","))
            clips.append(Clip(file, f"{audio.name}/{file.name}", carried, split=row.get("split") or "test"))
    return Listing(clips, labels, notes)


def is_audioset(source: Path) -> bool:
    """Whether ``source`` holds AudioSet's table of classes."""
    return (source / "class_labels_indices.csv").is_file()


def read_audioset(source: Path) -> Listing:
    """Read AudioSet: splits balanced_train, unbalanced_train and eval, as far as their tables are there.

    Sound files may lie anywhere below ``source``, one for each segment, already cut, and be called YTID, YTID_START or
    YTID_START_END, in seconds or milliseconds, with or without a 'Y' in front. Segments without a file are listed too.

    Args:
        source: folder with ``class_labels_indices.csv`` and ``balanced_train_segments.csv``,
            ``unbalanced_train_segments.csv``, ``eval_segments.csv`` or some of them.

    Raises:
        InputError: if a table cannot be read, or names a class that is not in the table of classes.

    Source: Gemmeke et al., "Audio Set: An Ontology and Human-Labeled Dataset for Audio Events", ICASSP 2017.
    """
    names = read_classes(source / "class_labels_indices.csv")
    clips: list[Clip] = []
    notes = _counted("AudioSet", "classes", 527, len(names))
    files = _audioset_files(source)
    for split, published in AUDIOSET_SEGMENTS.items():
        table, before = source / f"{split}_segments.csv", len(clips)
        columns = ("YTID", "start_seconds", "end_seconds", "positive_labels")
        for line, row in read_table(table, columns, header=False) if table.is_file() else ():
            ytid = row["YTID"]
            try:
                start = float(row["start_seconds"])
                labels = tuple(names[mid.strip()] for mid in row["positive_labels"].split(","))
            except (KeyError, ValueError) as error:
                raise InputError(
                    f"expected seconds and classes of class_labels_indices.csv, got {error} in line {line} of "
                    f"'{table}'; take both tables from one release"
                ) from error
            found = (files.get((ytid, begin)) for begin in (None, start, start * 1000))
            file = next(filter(None, found), source / "audio" / f"{ytid}.wav")
            clips.append(Clip(file, f"Y{ytid}_{start * 1000:.0f}", labels, split=split))
        notes += _counted("AudioSet", f"{split} segments", published, len(clips) - before)
    return Listing(clips, list(names.values()), notes)


def _of_fsd50k(source: Path, name: str) -> Path:
    return source / name if (source / name).is_dir() else source / f"FSD50K.{name}"


def _counted(dataset: str, what: str, published: int, got: int) -> list[str]:
    return [] if got == published else [f"expected {published} {what}, got {got}: this is a part of {dataset}"]


def _audioset_files(source: Path) -> dict[tuple[str, float | None], Path]:
    files: dict[tuple[str, float | None], Path] = {}
    for folder, folders, names in os.walk(source, followlinks=True):
        folders.sort()
        for name in sorted(names):
            match = AUDIOSET_FILE.fullmatch(os.path.splitext(name)[0])
            if match and is_sound(name):
                key = (match[1], float(match[2]) if match[2] else None)
                if key not in files or (is_readable(name) and not is_readable(files[key].name)):
                    files[key] = Path(folder, name)
    return files
