"""``atgnn shards write``: recordings of any format, decoded and resampled once, into shards by split."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np
from rich.console import Console

from atgnn.data.archive import new_directory
from atgnn.data.index import ShardReport, SplitIndex, read_splits
from atgnn.data.labels import Vocabulary, common_labels, read_vocabulary
from atgnn.data.listing import Clip, Listing
from atgnn.data.missing import Missing, check_missing, count_missing
from atgnn.data.pack import Packed, Packing, file_state
from atgnn.data.parallel import in_parallel
from atgnn.data.sources import read_source
from atgnn.data.splits import SplitBy, name_splits
from atgnn.errors import InputError

MAX_KEY = 80
OWN_FILE = re.compile(r"[0-9]{6}\..*|index\.json")


def write_shards(
    source: Path,
    out: Path,
    *,
    sample_rate: int = 16000,
    labels: Path | None = None,
    min_clips: int = 1,
    split_by: SplitBy = "auto",
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
    seed: int = 0,
    clips_per_shard: int = 256,
    max_missing: float = 0.0,
    jobs: int = 1,
    engine: str | None = None,
    overwrite: bool = False,
) -> ShardReport:
    """Write recordings into shards, one folder per split; the same command goes on where it was interrupted.

    Until all is written the folder is called OUT.part. The same source and options give the same bytes.

    Args:
        source: FSD50K or AudioSet as they are published, a folder with one folder per label, a CSV manifest with the
            columns file and labels (separated by ';') and, if you like, group, fold and split, or a folder with such
            a manifest.csv in it.
        out: folder to make.
        sample_rate: rate in Hz to which every recording is resampled.
        labels: a text file with one label a line, in the order of the outputs; by default the vocabulary of the
            source, or else all labels of its clips, sorted.
        min_clips: leave out labels that fewer clips carry; clips that lose all their labels are kept without one.
        split_by: split takes the source's own splits, fold makes splits fold0, fold1, … of its folds, group draws
            splits without dividing a group, auto takes the source's own splits if it has them and draws otherwise.
        val_fraction: share of the clips to validate on, where splits are drawn.
        test_fraction: share of the clips to test on, where splits are drawn.
        seed: of the drawn splits and of the order of clips.
        clips_per_shard: clips in one tar file, less those that are missing.
        max_missing: share of the files that may be absent or undecodable; they are left out and listed in missing.csv.
        jobs: processes that decode.
        engine: dask://HOST:PORT, or ray, to decode on the workers of a cluster, which must see the same files.
        overwrite: replace shards that are there.

    Raises:
        InputError: if the source, an option or more than ``max_missing`` of the files cannot be used.
    """
    _check_options(sample_rate, val_fraction, test_fraction, clips_per_shard, max_missing)
    # Absolute, because the workers of an engine are at home elsewhere.
    source, out = (Path(path).absolute() if engine else Path(path) for path in (source, out))
    listing = read_source(source)
    vocabulary = _vocabulary(listing, labels, min_clips)
    fractions = {"train": 1 - val_fraction - test_fraction, "val": val_fraction, "test": test_fraction}
    splits = name_splits(listing.clips, split_by, fractions, seed)
    states = [file_state(clip.file) for clip in listing.clips]
    missing = [
        Missing(clip.name, split, "absent", f"expected a sound file, got '{clip.file}', which does not exist; add it")
        for clip, split, state in zip(listing.clips, splits, states, strict=True)
        if state is None
    ]
    members = list(zip(listing.clips, clip_keys(listing.clips), states, strict=True))
    with new_directory(out, overwrite, keep=True) as unfinished:
        check_missing(missing, splits, max_missing, unfinished / "missing.csv")
        packings = []
        for split in sorted(set(splits)):
            own = [member for member, name in zip(members, splits, strict=True) if name == split]
            # Sources list their clips by label; a stream shuffles well only if a shard holds many labels.
            order = np.random.default_rng(seed).permutation(len(own))
            for number, start in enumerate(range(0, len(own), clips_per_shard)):
                part = [own[i] for i in order[start : start + clips_per_shard] if own[i][2]]
                path = unfinished / split / f"{number:06d}.tar"
                packings.append(Packing(path, part, sample_rate, vocabulary.labels))
        packed = _pack(packings, jobs, engine)
        missing += [
            Missing(name, packing.path.parent.name, "undecodable", reason)
            for packing, done in zip(packings, packed, strict=True)
            for name, reason in done.missing.items()
        ]
        check_missing(missing, splits, max_missing, unfinished / "missing.csv")
        recipe = {"made": "write", "min_clips": min_clips, "split_by": split_by, "seed": seed}
        for folder in sorted({packing.path.parent for packing in packings}):
            parts = [done for packing, done in zip(packings, packed, strict=True) if packing.path.parent == folder]
            shards, seconds = [part.shard for part in parts], sum(part.seconds for part in parts)
            SplitIndex(folder, sample_rate, vocabulary.labels, shards, seconds, recipe).write()
        _tidy(unfinished, packings)
    return ShardReport(out, read_splits(out), [*listing.notes, *count_missing(missing)])


def clip_keys(clips: Sequence[Clip]) -> list[str]:
    """A key for each clip: its file's name where that is enough, else its path, in letters a tar member may have."""
    stems = [_slug(PurePath(clip.name).stem) for clip in clips]
    paths = [_slug(str(PurePath(clip.name).with_suffix(""))) for clip in clips]
    counts = Counter(stems)
    taken: dict[str, None] = {}
    for stem, path in zip(stems, paths, strict=True):
        base = stem if counts[stem] == 1 else path
        tries = itertools.chain([base], (f"{base}-{number}" for number in itertools.count(2)))
        taken[next(key for key in tries if key not in taken)] = None
    return list(taken)


def _vocabulary(listing: Listing, file: Path | None, min_clips: int) -> Vocabulary:
    vocabulary = read_vocabulary(Path(file)) if file else Vocabulary(listing.labels) if listing.labels else None
    if vocabulary:
        for clip in listing.clips:
            vocabulary.indices(clip.labels, clip.name)
        if min_clips <= 1:
            return vocabulary
    common = common_labels((clip.labels for clip in listing.clips), min_clips)
    return Vocabulary([label for label in vocabulary.labels if label in common] if vocabulary else common)


def _pack(packings: Sequence[Packing], jobs: int, engine: str | None) -> list[Packed]:
    there = sum(packing.packed() is not None for packing in packings)
    if there:
        Console(stderr=True).print(f"continuing, {there} of {len(packings)} shards are there", highlight=False)
    return in_parallel(Packing.pack, packings, "writing shards", jobs=jobs, engine=engine)


def _tidy(directory: Path, packings: Sequence[Packing]) -> None:
    """Remove the notes, and what runs that were interrupted or had other options left; nothing else."""
    kept = {path for packing in packings for path in (packing.path, packing.path.with_name("index.json"))}
    for path in directory.glob("*/*"):
        if path not in kept and OWN_FILE.fullmatch(path.name):
            path.unlink()
    for folder in directory.iterdir():
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:MAX_KEY] or "clip"


def _check_options(
    sample_rate: int, val_fraction: float, test_fraction: float, clips_per_shard: int, max_missing: float
) -> None:
    for name, value in (("sample_rate", sample_rate), ("clips_per_shard", clips_per_shard)):
        if value < 1:
            raise InputError(f"expected {name} of at least 1, got {value}; give a positive number")
    if min(val_fraction, test_fraction) < 0 or val_fraction + test_fraction >= 1:
        raise InputError(
            f"expected fractions that leave clips to train on, got {val_fraction} and {test_fraction}; "
            "give positive numbers with a sum below 1"
        )
    if not 0 <= max_missing < 1:
        raise InputError(f"expected max_missing from 0 to below 1, got {max_missing}; give a share of the files")
