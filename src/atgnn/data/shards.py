"""``atgnn shards write``: recordings of any format, decoded and resampled once, into shards by split."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePath

import numpy as np

from atgnn.audio.files import encode_flac, read_audio
from atgnn.data.archive import Sample, new_directory, write_split
from atgnn.data.index import ShardReport, read_splits
from atgnn.data.labels import Vocabulary, common_labels, read_vocabulary
from atgnn.data.sources import Clip, read_source
from atgnn.data.splits import SplitBy, name_splits
from atgnn.errors import InputError

MAX_KEY = 80
PORTION = 256


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
    overwrite: bool = False,
) -> ShardReport:
    """Write recordings into shards: one folder per split, made whole or not at all.

    Args:
        source: a folder with one folder per label, a CSV manifest with the columns file and labels (separated by
            ';') and, if you like, group, fold and split, or a folder with such a manifest.csv in it.
        out: folder to make.
        sample_rate: rate in Hz to which every recording is resampled.
        labels: a text file with one label a line, in the order of the outputs; by default all labels of the source,
            sorted.
        min_clips: leave out labels that fewer clips carry; clips that lose all their labels are kept without one.
        split_by: split takes the source's own splits, fold makes splits fold0, fold1, … of its folds, group draws
            splits without dividing a group, auto takes the source's own splits if it has them and draws otherwise.
        val_fraction: share of the clips to validate on, where splits are drawn.
        test_fraction: share of the clips to test on, where splits are drawn.
        seed: of the drawn splits and of the order of clips.
        clips_per_shard: clips in one tar file.
        max_missing: share of the files that may be absent or undecodable; each is listed and left out.
        jobs: threads that decode.
        overwrite: replace shards that are there.

    Raises:
        InputError: if the source, an option or more than ``max_missing`` of the files cannot be used.
    """
    source, out = Path(source), Path(out)
    _check_options(sample_rate, val_fraction, test_fraction, clips_per_shard, max_missing, jobs)
    clips = read_source(source)
    vocabulary = read_vocabulary(Path(labels)) if labels else None
    if vocabulary:
        for clip in clips:
            vocabulary.indices(clip.labels, clip.name)
    if vocabulary is None or min_clips > 1:
        common = common_labels((clip.labels for clip in clips), min_clips)
        vocabulary = Vocabulary([label for label in vocabulary.labels if label in common] if vocabulary else common)
    fractions = {"train": 1 - val_fraction - test_fraction, "val": val_fraction, "test": test_fraction}
    split_of = name_splits(clips, split_by, fractions, seed)
    missing = _Missing(limit=int(max_missing * len(clips) + 1e-9), total=len(clips))
    missing.add(
        {
            clip.name: f"expected a sound file, got '{clip.file}', which does not exist; correct the path"
            for clip in clips
            if not clip.file.is_file()
        }
    )
    entries = list(zip(clips, clip_keys(clips), split_of, strict=True))
    with new_directory(out, overwrite) as unfinished, ThreadPoolExecutor(jobs) as pool:
        for split in sorted(set(split_of)):
            members = [(clip, key) for clip, key, name in entries if name == split and clip.name not in missing.reasons]
            # Sources list their clips by label; a stream shuffles well only if a shard holds many labels.
            order = np.random.default_rng(seed).permutation(len(members))
            encode = partial(_encode, sample_rate=sample_rate, labels=frozenset(vocabulary.labels))
            write_split(
                unfinished / split,
                _encoded([members[i] for i in order], encode, pool, missing),
                sample_rate=sample_rate,
                labels=vocabulary.labels,
                clips_per_shard=clips_per_shard,
                recipe={"made": "write", "min_clips": min_clips, "split_by": split_by, "seed": seed},
            )
    return ShardReport(out, read_splits(out), list(missing.reasons.values()))


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


class _Missing:
    """Files that could not be used, as long as they are no more than allowed."""

    def __init__(self, limit: int, total: int) -> None:
        self.reasons: dict[str, str] = {}
        self._limit, self._total = limit, total

    def add(self, reasons: dict[str, str]) -> None:
        self.reasons.update(reasons)
        if len(self.reasons) <= self._limit:
            return
        if len(self.reasons) == 1:
            raise InputError(f"{next(iter(self.reasons.values()))}, or allow some with --max-missing")
        names = ", ".join(f"'{name}'" for name in self.reasons)
        raise InputError(
            f"expected at most {self._limit} of {self._total} files to be absent or undecodable, "
            f"got {len(self.reasons)}: {names}; correct them or allow more with --max-missing"
        )


def _encoded(
    members: list[tuple[Clip, str]],
    encode: Callable[[tuple[Clip, str]], Sample | InputError],
    pool: Executor,
    missing: _Missing,
) -> Iterator[Sample]:
    # In portions: a pool takes in all of its work at once, and would hold a whole data set in memory.
    for start in range(0, len(members), PORTION):
        portion = members[start : start + PORTION]
        done = list(pool.map(encode, portion))
        failed = {clip.name: str(s) for (clip, _), s in zip(portion, done, strict=True) if isinstance(s, InputError)}
        missing.add(failed)
        yield from (sample for sample in done if isinstance(sample, Sample))


def _encode(member: tuple[Clip, str], sample_rate: int, labels: frozenset[str]) -> Sample | InputError:
    clip, key = member
    try:
        waveform = read_audio(clip.file, sample_rate)
    except InputError as error:
        return error
    meta: dict[str, object] = {
        "labels": [label for label in clip.labels if label in labels],
        "duration": len(waveform) / sample_rate,
        "source": clip.name,
    }
    if clip.group:
        meta["group"] = clip.group
    return Sample(key, encode_flac(waveform, sample_rate), meta)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:MAX_KEY] or "clip"


def _check_options(
    sample_rate: int, val_fraction: float, test_fraction: float, clips_per_shard: int, max_missing: float, jobs: int
) -> None:
    for name, value in (("sample_rate", sample_rate), ("clips_per_shard", clips_per_shard), ("jobs", jobs)):
        if value < 1:
            raise InputError(f"expected {name} of at least 1, got {value}; give a positive number")
    if min(val_fraction, test_fraction) < 0 or val_fraction + test_fraction >= 1:
        raise InputError(
            f"expected fractions that leave clips to train on, got {val_fraction} and {test_fraction}; "
            "give positive numbers with a sum below 1"
        )
    if not 0 <= max_missing < 1:
        raise InputError(f"expected max_missing from 0 to below 1, got {max_missing}; give a share of the files")
