"""One shard of recordings, decoded and packed once: a note beside it says that it is whole, and of what."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import soundfile
import torch

from atgnn.audio.files import encode_flac, read_audio
from atgnn.data.archive import Sample, file_digest, write_shard
from atgnn.data.index import Shard
from atgnn.data.listing import Clip
from atgnn.errors import InputError

FileState = tuple[int, int]
"""Size of a file, and when it last changed, in content or rights."""


class Packed(NamedTuple):
    """A shard that is written: of which stamp, what the index says of it, and the clips it lacks, with the reasons."""

    stamp: str
    shard: Shard
    seconds: float
    missing: dict[str, str]


@dataclass(frozen=True, slots=True)
class Packing:
    """A shard to write, known before anything is decoded.

    Attributes:
        path: of the tar.
        members: its clips in order, each with its key and the state of its file.
        sample_rate: rate in Hz to which they are resampled.
        labels: the vocabulary; other labels are dropped.
    """

    path: Path
    members: list[tuple[Clip, str, FileState | None]]
    sample_rate: int
    labels: list[str]

    @property
    def note(self) -> Path:
        """Where it is noted that the shard is written."""
        return self.path.with_suffix(".json")

    def stamp(self) -> str:
        """SHA-256 over all that decides on the bytes of the shard: a stamp that is the same, the same bytes."""
        clips = [(key, clip.name, clip.labels, clip.group, state) for clip, key, state in self.members]
        made_of = [clips, self.sample_rate, self.labels, soundfile.__libsndfile_version__]
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()

    def packed(self) -> Packed | None:
        """What the note says, if it is of the same stamp; whether the tar is whole is not looked at."""
        try:
            content = json.loads(self.note.read_text(encoding="utf-8"))
            packed = Packed(**(content | {"shard": Shard(**content["shard"])}))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return packed if packed.stamp == self.stamp() else None

    def pack(self) -> Packed:
        """Write the shard, and its note last; one that is there and whole is kept."""
        packed = self.packed()
        if packed and self.path.is_file() and file_digest(self.path) == packed.shard.sha256:
            return packed
        self.path.parent.mkdir(parents=True, exist_ok=True)
        missing: dict[str, str] = {}
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in workers: sums over several threads may round otherwise
        try:
            shard, seconds = write_shard(self.path, self._samples(missing), self.labels)
        finally:
            torch.set_num_threads(threads)
        packed = Packed(self.stamp(), shard, seconds, missing)
        unfinished = self.note.with_suffix(".tmp")
        unfinished.write_text(json.dumps(packed._asdict() | {"shard": asdict(shard)}), encoding="utf-8")
        unfinished.replace(self.note)
        return packed

    def _samples(self, missing: dict[str, str]) -> Iterator[Sample]:
        for clip, key, _ in self.members:
            try:
                waveform = read_audio(clip.file, self.sample_rate)
            except InputError as error:
                missing[clip.name] = str(error)
                continue
            meta: dict[str, object] = {
                "labels": [label for label in clip.labels if label in self.labels],
                "duration": len(waveform) / self.sample_rate,
                "source": clip.name,
            }
            if clip.group:
                meta["group"] = clip.group
            yield Sample(key, encode_flac(waveform, self.sample_rate), meta)


def file_state(file: Path) -> FileState | None:
    """State of a file; None if there is none."""
    try:
        state = file.stat()
    except OSError:
        return None
    return state.st_size, state.st_ctime_ns
