"""``atgnn shards check``: prove that shards are what their indices say, down to each clip's sound."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from atgnn.audio.files import audio_info
from atgnn.data.archive import file_digest, read_shard
from atgnn.data.index import Shard, ShardReport, SplitIndex, read_splits
from atgnn.data.labels import Vocabulary
from atgnn.errors import InputError


def check_shards(directory: Path) -> ShardReport:
    """Verify digests, sizes, counts and labels of shards, and decode every clip.

    Args:
        directory: folder that atgnn shards write or atgnn shards mix made.

    Raises:
        InputError: with every fault in it, if there is one.
    """
    splits = read_splits(Path(directory))
    faults: list[str] = []
    split_of: dict[str, str] = {}
    for split in splits:
        for shard in split.shards:
            faults.extend(_shard_faults(split, shard, split_of))
        listed = {shard.name for shard in split.shards}
        faults.extend(
            f"'{path}' is not in the index" for path in sorted(split.directory.glob("*.tar")) if path.name not in listed
        )
    if faults:
        raise InputError(
            f"expected whole shards, got {len(faults)} faults in '{directory}': {' · '.join(faults)}; "
            "write or copy them again"
        )
    return ShardReport(Path(directory), splits)


def _shard_faults(split: SplitIndex, shard: Shard, split_of: dict[str, str]) -> Iterator[str]:
    path = split.directory / shard.name
    vocabulary = Vocabulary(split.labels)
    if path.is_file() and path.stat().st_size == shard.bytes and file_digest(path) != shard.sha256:
        yield f"'{path}' has another SHA-256 than its index says"
    try:
        for sample, targets in zip(read_shard(split.directory, shard), shard.targets, strict=False):
            try:
                if sample.fault:
                    raise InputError(sample.fault)
                info = audio_info(io.BytesIO(sample.flac), name=sample.key)
                sample.waveform(split.sample_rate)
                if vocabulary.indices(sample.meta["labels"], sample.key) != targets:
                    yield f"clip '{sample.key}' in '{path}' has other labels than its index says"
            except InputError as error:
                yield f"clip '{sample.key}' in '{path}': {error}"
                continue
            if info.sample_rate != split.sample_rate:
                yield f"clip '{sample.key}' in '{path}' has {info.sample_rate} Hz"
            # A clip is its own group where none is given, so the same test finds keys that two splits share.
            group = sample.meta.get("group") or f"clip {sample.key}"
            if split_of.setdefault(group, split.name) != split.name:
                yield f"group '{group}' lies in '{split_of[group]}' and '{split.name}'"
    except InputError as error:
        yield str(error)
