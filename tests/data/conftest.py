"""Small recordings and shards that the tests of the data room share."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from atgnn.audio.files import encode_flac
from atgnn.data.archive import Sample, write_split

RATE = 16000
Rows = Sequence[dict[str, str]]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def write_tone() -> Callable[..., Path]:
    """Write a sine of its own pitch to a file."""

    def write(path: Path, seconds: float = 0.1, pitch: float = 440.0, rate: int = RATE) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        time = np.arange(round(seconds * rate)) / rate
        soundfile.write(path, 0.5 * np.sin(2 * np.pi * pitch * time), rate)
        return path

    return write


@pytest.fixture
def write_manifest(tmp_path: Path, write_tone: Callable[..., Path]) -> Callable[..., Path]:
    """Write a manifest and a tone for each of its files."""

    def write(rows: Rows, name: str = "source") -> Path:
        folder = tmp_path / name
        for number, row in enumerate(rows):
            write_tone(folder / row["file"], pitch=200 + 50 * number)
        path = folder / "manifest.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write


@pytest.fixture
def write_clips(tmp_path: Path) -> Callable[..., Path]:
    """Write shards of clips with given labels; the samples of clip n are all (first + n) / 1000."""

    def write(
        splits: dict[str, list[list[str]]],
        labels: Sequence[str] = ("a", "b", "c"),
        clips_per_shard: int = 4,
        seconds: float = 0.01,
        rate: int = RATE,
        name: str = "shards",
        first: int = 1,
    ) -> Path:
        out = tmp_path / name
        out.mkdir()
        for split, clips in splits.items():
            write_split(
                out / split,
                (
                    Sample(
                        f"{split}-{number:04d}",
                        encode_flac(torch.full((round(seconds * rate),), (first + number) / 1000), rate),
                        {"labels": carried, "duration": seconds, "source": f"{split}/{number}.wav"},
                    )
                    for number, carried in enumerate(clips)
                ),
                sample_rate=rate,
                labels=list(labels),
                clips_per_shard=clips_per_shard,
                recipe={"made": "test"},
            )
        return out

    return write
