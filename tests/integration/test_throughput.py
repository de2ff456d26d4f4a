"""The exact, balanced stream keeps pace with a plain loop over the same shards, and shards with loose files.

``ATGNN_RECORDINGS=FOLDER pytest tests/integration/test_throughput.py -s`` measures on other recordings than data/mini.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
import webdataset as wds
from torch.utils.data import DataLoader, Dataset

from atgnn.audio.files import read_audio
from atgnn.data.datamodule import ShardDataModule
from atgnn.data.index import SplitIndex, read_splits
from atgnn.data.shards import write_shards
from atgnn.data.sources import read_source

RECORDINGS = Path(os.environ.get("ATGNN_RECORDINGS", Path(__file__).parents[2] / "data" / "mini"))
RATE, LENGTH, CLIPS, BATCH, ROUNDS = 16000, 160000, 128, 16, 7

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real clips joined to ten seconds at 44.1 kHz: of one length, so that each costs the same."""
    folder = tmp_path_factory.mktemp("recordings")
    listing = read_source(RECORDINGS)
    sounds = itertools.cycle((read_audio(clip.file, 44100), clip.labels) for clip in listing.clips)
    rows = []
    for number in range(CLIPS):
        (clip, labels), length = next(sounds), 441000
        parts = [clip]
        while sum(map(len, parts)) < length:
            parts.append(next(sounds)[0])
        name = f"{number}.flac"
        soundfile.write(folder / name, torch.cat(parts)[:length].numpy(), 44100, subtype="PCM_16")
        rows.append({"file": name, "labels": ";".join(labels), "split": "train"})
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def shards(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("throughput") / "shards"
    write_shards(recordings, out, clips_per_shard=32, jobs=2)
    return out


def stream(shards: Path, workers: int) -> Iterable[Any]:
    options = {"batch_size": BATCH, "crop_seconds": LENGTH / RATE, "workers": workers}
    return ShardDataModule(str(shards), balance=True, val=None, test=None, **options).train_dataloader()


def plain_loop(split: SplitIndex) -> Iterable[Any]:
    """What one writes with WebDataset alone: shuffled, decoded, cut or padded, collated; nothing is checked."""

    def decode(sample: dict[str, bytes]) -> tuple[torch.Tensor, torch.Tensor]:
        samples, _ = soundfile.read(io.BytesIO(sample["flac"]), dtype="float32")
        waveform, targets = torch.zeros(LENGTH), torch.zeros(len(split.labels))
        waveform[: len(samples)] = torch.from_numpy(samples[:LENGTH])
        for label in json.loads(sample["json"])["labels"]:
            targets[split.labels.index(label)] = 1
        return waveform, targets

    urls = [str(split.directory / shard.name) for shard in split.shards]
    return wds.WebDataset(urls, shardshuffle=100, seed=0).shuffle(1000).map(decode).batched(BATCH)


class LooseFiles(Dataset[torch.Tensor]):
    """The recordings, decoded and resampled as they come."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> torch.Tensor:
        torch.set_num_threads(1)
        return read_audio(self.files[number], RATE)[:LENGTH]


def compare(ours: Callable[[], Iterable[Any]], theirs: Callable[[], Iterable[Any]]) -> tuple[float, float]:
    """Clips a second of ours, and how many times theirs that is: medians of rounds in turns, but for the first."""
    speeds: list[tuple[float, float]] = []
    for _ in range(ROUNDS + 1):
        pair = []
        for loop in (ours, theirs):
            batches, start = loop(), time.perf_counter()
            pair.append(sum(1 for _ in batches) * BATCH / (time.perf_counter() - start))
        speeds.append((pair[0], pair[0] / pair[1]))
    speed, ratio = map(statistics.median, zip(*speeds[1:], strict=True))
    return speed, ratio


def test_the_exact_balanced_stream_keeps_pace_with_a_plain_loop(shards: Path, figure: Callable[..., None]) -> None:
    (split,) = read_splits(shards)
    loader = stream(shards, 0)
    speed, ratio = compare(lambda: loader, lambda: plain_loop(split))
    figure("stream", f"{ratio:.2f} times a plain WebDataset loop: {speed:.0f} clips/s of 10 s in one process")
    assert ratio > 0.9


def test_shards_are_faster_than_loose_files(shards: Path, recordings: Path, figure: Callable[..., None]) -> None:
    files = sorted(recordings.glob("*.flac"))
    loader = stream(shards, 1)
    loose = DataLoader(LooseFiles(files), BATCH, num_workers=1, shuffle=True, persistent_workers=True)
    speed, ratio = compare(lambda: loader, lambda: loose)
    figure("loose", f"{ratio:.1f} times loose files at 44.1 kHz: {speed:.0f} clips/s of 10 s with one worker")
    assert ratio > 2
