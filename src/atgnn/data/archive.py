"""Tars of clips: written whole or not at all, and read with nothing in them executed."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import secrets
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout
from torch import Tensor
from webdataset.tariterators import group_by_keys

from atgnn.audio.files import read_audio
from atgnn.data.index import Shard, SplitIndex, find_splits
from atgnn.data.labels import Vocabulary
from atgnn.errors import InputError

MAX_MEMBER_BYTES = 1 << 28
MAX_JSON_BYTES = 1 << 20
MAX_CLIP_SECONDS = 3600
"""A few bytes of FLAC may decode to days: longer clips are refused without being decoded."""
MEMBER_NAME = re.compile(r"[A-Za-z0-9_-]{1,240}\.(flac|json)")


@dataclass(frozen=True, slots=True)
class Sample:
    """One clip as a shard keeps it.

    Attributes:
        key: unique in the split; letters, digits, '-' and '_'.
        flac: its sound, encoded.
        meta: labels, duration, source and, if known, group and events.
        fault: why it cannot be used, if so; then ``meta`` has no labels.
    """

    key: str
    flac: bytes
    meta: dict[str, Any]
    fault: str = ""

    def waveform(self, sample_rate: int) -> Tensor:
        """Decode the clip, (T,) at ``sample_rate``.

        Raises:
            InputError: if it cannot be decoded whole, or is longer than :data:`MAX_CLIP_SECONDS`.
        """
        limit = int(MAX_CLIP_SECONDS * sample_rate)
        return read_audio(io.BytesIO(self.flac), sample_rate, name=self.key, max_samples=limit)


@contextmanager
def new_directory(out: Path, overwrite: bool, keep: bool = False) -> Iterator[Path]:
    """A folder to write into that takes the name ``out`` once the block ends well.

    Args:
        out: name of the finished folder.
        overwrite: replace shards that are there.
        keep: leave what is unfinished as ``OUT.part``, to go on there next time; otherwise it vanishes.

    Raises:
        InputError: if ``out`` is there and may not be replaced, or cannot be written.
    """
    occupied = out.exists() and not (out.is_dir() and not any(out.iterdir()))
    if occupied and not overwrite:
        raise InputError(
            f"expected a new folder, got '{out}', which is there; choose another name or give --overwrite true"
        )
    if occupied and not (out.is_dir() and find_splits(out)):
        raise InputError(f"expected shards to overwrite, got '{out}', which holds something else; choose another name")
    spare = out.parent / f".{out.name}.{secrets.token_hex(4)}.tmp"
    unfinished = out.parent / f"{out.name}.part" if keep else spare
    try:
        unfinished.mkdir(parents=True, exist_ok=True)
        with FileLock(unfinished / ".lock", timeout=0):
            yield unfinished
            if occupied:
                out.rename(spare.with_suffix(".old"))
            unfinished.rename(out)
            (out / ".lock").unlink(missing_ok=True)
        shutil.rmtree(spare.with_suffix(".old"), ignore_errors=True)
    except Timeout as error:
        raise InputError(
            f"expected to write '{out}' alone, got another command that is writing it; wait for it to end"
        ) from error
    except OSError as error:
        raise InputError(f"expected a folder to write to, got '{out}' ({error}); choose another") from error
    finally:
        shutil.rmtree(spare, ignore_errors=True)


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
    """
    directory.mkdir()
    rest = iter(samples)
    shards: list[Shard] = []
    seconds = 0.0
    while batch := list(itertools.islice(rest, clips_per_shard)):
        shard, length = write_shard(directory / f"{len(shards):06d}.tar", batch, labels)
        shards.append(shard)
        seconds += length
    SplitIndex(directory, sample_rate, labels, shards, seconds, recipe).write()


def write_shard(path: Path, samples: Iterable[Sample], labels: list[str]) -> tuple[Shard, float]:
    """Write one tar, under a temporary name until it is whole; returns its entry in the index and its seconds.

    Args:
        path: of the tar; its folder is there.
        samples: its clips in order.
        labels: the vocabulary.
    """
    vocabulary, targets, seconds = Vocabulary(labels), [], 0.0
    unfinished = path.with_suffix(f".{secrets.token_hex(4)}.tmp")
    try:
        with tarfile.open(unfinished, "w", format=tarfile.USTAR_FORMAT) as tar:
            for sample in samples:
                _add(tar, f"{sample.key}.flac", sample.flac)
                _add(tar, f"{sample.key}.json", json.dumps(sample.meta, ensure_ascii=False).encode())
                targets.append(vocabulary.indices(sample.meta["labels"], sample.key))
                seconds += sample.meta["duration"]
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return Shard(path.name, path.stat().st_size, file_digest(path), targets), seconds


def read_shard(directory: Path, shard: Shard) -> Iterator[Sample]:
    """Read the clips of one tar in order, as bytes and plain JSON; nothing is unpacked to disk or decompressed.

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
        with path.open("rb") as stream:
            for fields in group_by_keys(_members(stream)):
                count += 1
                if count > shard.clips:
                    break
                yield _sample(fields)
    except InputError:
        raise
    except (OSError, EOFError, KeyError, TypeError, ValueError, RecursionError, tarfile.TarError) as error:
        raise InputError(
            f"expected a whole tar of clips, got a damaged shard '{path}' "
            f"({type(error).__name__} at clip {count}: {error}); copy or write it again"
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


def _members(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    # '|' reads front to back: no offset in a header can make it go round in circles.
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for entry in tar:
            # A sparse file of a few bytes may unfold to any size.
            if not entry.isreg() or entry.issparse() or not MEMBER_NAME.fullmatch(entry.name):
                raise ValueError(f"a member is called {entry.name[:100]!r} or is no plain file")
            if entry.size > (MAX_JSON_BYTES if entry.name.endswith(".json") else MAX_MEMBER_BYTES):
                raise ValueError(f"member {entry.name!r} has {entry.size} bytes")
            file = tar.extractfile(entry)
            data = file.read() if file else b""
            if len(data) < entry.size:
                raise EOFError(f"member {entry.name!r} is cut short")
            yield {"__url__": "", "fname": entry.name, "data": data}
            tar.members.clear()  # type: ignore[attr-defined]


def _sample(fields: dict[str, Any]) -> Sample:
    key, flac, text = fields["__key__"], fields["flac"], fields["json"]
    try:
        meta = json.loads(text)
        if not all(isinstance(label, str) for label in meta["labels"]):
            raise ValueError("its labels are no names")
        return Sample(key, flac, meta | {"labels": list(meta["labels"])})
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        fault = f"expected JSON with labels, got {type(error).__name__} in clip '{key}' ({error}); write it again"
        return Sample(key, flac, {"labels": []}, fault)
