"""Tars of clips: written whole or not at all, and read with nothing in them executed."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import secrets
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webdataset.tariterators import group_by_keys, tar_file_expander

from atgnn.data.index import Shard, SplitIndex, find_splits
from atgnn.data.labels import Vocabulary
from atgnn.errors import InputError


@dataclass(frozen=True, slots=True)
class Sample:
    """One clip as a shard keeps it.

    Attributes:
        key: unique in the split; letters, digits, '-' and '_'.
        flac: its sound, encoded.
        meta: labels, duration, source and, if known, group and events.
    """

    key: str
    flac: bytes
    meta: dict[str, Any]


@contextmanager
def new_directory(out: Path, overwrite: bool) -> Iterator[Path]:
    """A folder to write into that takes the name ``out`` once the block ends well, and vanishes if it does not.

    Args:
        out: name of the finished folder.
        overwrite: replace shards that are there.

    Raises:
        InputError: if ``out`` is there and may not be replaced.
    """
    occupied = out.exists() and not (out.is_dir() and not any(out.iterdir()))
    if occupied and not overwrite:
        raise InputError(
            f"expected a new folder, got '{out}', which is there; choose another name or give --overwrite true"
        )
    if occupied and not (out.is_dir() and find_splits(out)):
        raise InputError(f"expected shards to overwrite, got '{out}', which holds something else; choose another name")
    unfinished = out.parent / f".{out.name}.{secrets.token_hex(4)}.tmp"
    try:
        unfinished.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"expected a folder to write to, got '{out.parent}' ({error}); choose another") from error
    try:
        yield unfinished
        if occupied:
            replaced = out.rename(unfinished.with_suffix(".old"))
            unfinished.rename(out)
            shutil.rmtree(replaced)
        else:
            unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_split(
    directory: Path,
    samples: Iterable[Sample],
    *,
    sample_rate: int,
    labels: list[str],
    clips_per_shard: int,
    recipe: dict[str, Any],
) -> None:
    """Write one split, its index last; the same samples give the same bytes.

    Args:
        directory: folder of the split, made here.
        samples: its clips in order.
        sample_rate: of every clip, in Hz.
        labels: the vocabulary.
        clips_per_shard: clips of every tar but the last.
        recipe: plain values to keep in the index.

    Raises:
        InputError: if there is no sample.
    """
    directory.mkdir()
    vocabulary, shards, seconds = Vocabulary(labels), [], 0.0
    for number, batch in enumerate(_chunks(samples, clips_per_shard)):
        path = directory / f"{number:06d}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for sample in batch:
                _add(tar, f"{sample.key}.flac", sample.flac)
                _add(tar, f"{sample.key}.json", json.dumps(sample.meta, ensure_ascii=False).encode())
        targets = [vocabulary.indices(sample.meta["labels"], sample.key) for sample in batch]
        shards.append(Shard(path.name, path.stat().st_size, file_digest(path), targets))
        seconds += sum(sample.meta["duration"] for sample in batch)
    if not shards:
        raise InputError(f"expected clips in every split, got none in '{directory.name}'; add clips or drop the split")
    SplitIndex(directory, sample_rate, labels, shards, seconds, recipe).write()


def read_shard(directory: Path, shard: Shard) -> Iterator[Sample]:
    """Read the clips of one tar in order, as bytes and plain JSON.

    Args:
        directory: folder of the split.
        shard: its entry in the index.

    Raises:
        InputError: if the tar is absent, cut short, damaged, or not what the index says.
    """
    path = directory / shard.name
    count = 0
    try:
        size = path.stat().st_size
        if size != shard.bytes:
            raise InputError(f"expected {shard.bytes} bytes, got {size} in shard '{path}'; copy or write it again")
        # The open file goes to the reader rather than its name: WebDataset runs names that start with 'pipe:'.
        with path.open("rb") as stream:
            for fields in group_by_keys(tar_file_expander([{"url": path.name, "stream": stream}])):
                count += 1
                if count > shard.clips:
                    break
                yield _sample(fields)
    except InputError:
        raise
    except (OSError, EOFError, KeyError, TypeError, ValueError, AssertionError, tarfile.TarError) as error:
        raise InputError(
            f"expected a whole tar of clips, got a damaged shard '{path}' "
            f"({type(error).__name__} at clip {count}); copy or write it again"
        ) from error
    if count != shard.clips:
        got = "more" if count > shard.clips else count
        raise InputError(f"expected {shard.clips} clips, got {got} in shard '{path}'; copy or write it again")


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)  # time, owner and rights stay at their fixed defaults
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _chunks(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    iterator = iter(samples)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def _sample(fields: dict[str, Any]) -> Sample:
    meta = json.loads(fields["json"])
    meta["labels"] = [str(label) for label in meta["labels"]]
    return Sample(fields["__key__"], fields["flac"], meta)
