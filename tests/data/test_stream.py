from __future__ import annotations

import io
import os
import pickle
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from atgnn.audio.files import encode_flac
from atgnn.data.archive import Sample, write_split
from atgnn.data.index import SplitIndex, read_index, read_splits
from atgnn.data.plan import EvaluationPlan, TrainingPlan
from atgnn.data.stream import Batch, ShardLoader, ShardStream
from atgnn.errors import InputError

CLIPS = [["a"], ["a", "c"], [], ["c"], ["b"]] * 3  # 15 clips in 4 shards


def training(splits: list[SplitIndex], workers: int = 0, **options: object) -> ShardLoader:
    plan = TrainingPlan(splits, 3, **options)  # type: ignore[arg-type]
    return ShardLoader(ShardStream(splits, plan, crop_seconds=0.01, shuffle=100), workers)


def keys(batches: list[Batch]) -> list[str]:
    return [key for batch in batches for key in batch["key"]]


def test_a_batch_is_what_the_shards_hold(write_clips: Callable[..., Path]) -> None:
    splits = read_splits(write_clips({"val": CLIPS}))
    loader = ShardLoader(ShardStream(splits, EvaluationPlan(splits, 4), crop_seconds=0.02), workers=0)
    batches = list(loader)
    assert len(batches) == len(loader) == 4
    batch = batches[1]
    assert {name: batch[name].dtype for name in ("waveform", "lengths", "targets", "mask")} == {  # type: ignore[literal-required]
        "waveform": torch.float32, "lengths": torch.int64, "targets": torch.float32, "mask": torch.bool,
    }  # fmt: skip
    assert batch["key"] == ["val-0004", "val-0005", "val-0006", "val-0007"]
    assert batch["waveform"].shape == (4, 320)
    assert batch["lengths"].tolist() == [160] * 4
    for row, number in enumerate((4, 5, 6, 7)):
        assert batch["waveform"][row, :160].tolist() == pytest.approx([(number + 1) / 1000] * 160, abs=2e-5)
        assert batch["waveform"][row, 160:].abs().max() == 0
    assert batch["targets"].tolist() == [[0, 1, 0], [1, 0, 0], [1, 0, 1], [0, 0, 0]]
    assert batch["mask"].all()
    assert len(batches[-1]["key"]) == 3


def test_a_tight_batch_is_as_long_as_its_longest_clip(tmp_path: Path) -> None:
    clips = [
        Sample(f"{n}", encode_flac(torch.full((length,), 0.5), 16000), {"labels": ["a"], "duration": 1, "source": ""})
        for n, length in enumerate((30, 50, 20, 900, 10))
    ]
    write_split(tmp_path / "val", clips, sample_rate=16000, labels=["a"], clips_per_shard=9, recipe={})
    splits = read_splits(tmp_path)
    seen = [
        batch
        for rank in range(2)
        for batch, _ in ShardStream(
            splits, EvaluationPlan(splits, 2, rank=rank, world_size=2), crop_seconds=0.04, tight=True
        )
    ]
    assert [batch["waveform"].shape for batch in seen] == [(2, 50), (1, 20), (2, 640), (1, 1)]
    assert [batch["lengths"].tolist() for batch in seen] == [[30, 50], [20], [640, 10], [1]]
    assert [batch["mask"].tolist() for batch in seen] == [[True, True], [True], [True, True], [False]]
    assert not seen[0]["waveform"][0, 30:].any()


@pytest.mark.parametrize("world_size", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("clips_per_shard", [1, 4, 100])
def test_every_clip_is_evaluated_once(write_clips: Callable[..., Path], world_size: int, clips_per_shard: int) -> None:
    splits = read_splits(write_clips({"one": CLIPS, "two": CLIPS[:2]}, clips_per_shard=clips_per_shard))
    seen: list[str] = []
    shapes = set()
    for rank in range(world_size):
        plan = EvaluationPlan(splits, 2, rank=rank, world_size=world_size)
        batches = list(ShardLoader(ShardStream(splits, plan, crop_seconds=0.01), workers=0))
        shapes.add(tuple(tuple(batch["waveform"].shape) for batch in batches))
        for batch in batches:
            seen += [key for key, real in zip(batch["key"], batch["mask"].tolist(), strict=True) if real]
            fillers = ~batch["mask"]
            assert batch["waveform"][fillers].abs().sum() == 0 == batch["targets"][fillers].sum()
    assert sorted(seen) == [f"one-{n:04d}" for n in range(15)] + ["two-0000", "two-0001"]
    assert len(shapes) == 1


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_divide_the_batches(write_clips: Callable[..., Path], workers: int) -> None:
    splits = read_splits(write_clips({"one": CLIPS}))
    loader = ShardLoader(ShardStream(splits, EvaluationPlan(splits, 4), crop_seconds=0.01), workers)
    assert sorted(keys(list(loader))) == [f"one-{n:04d}" for n in range(15)]
    loader = training(splits, workers)
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        batches = list(loader)
        assert len(batches) == len(loader) == 5
        assert sorted(keys(batches)) == [f"one-{n:04d}" for n in range(15)]


def test_training_order_follows_seed_and_epoch_even_in_lasting_workers(write_clips: Callable[..., Path]) -> None:
    splits = read_splits(write_clips({"one": CLIPS}))
    alone, workers = training(splits), training(splits, 1)
    orders = []
    for epoch in (0, 1, 0):
        for loader in (alone, workers):
            loader.sampler.set_epoch(epoch)
        orders.append(keys(list(alone)))
        assert keys(list(workers)) == orders[-1]
    assert orders[0] == orders[2] != orders[1]
    assert orders[0] != sorted(orders[0])


@pytest.mark.parametrize("steps", [1, 4, 17])
def test_every_rank_trains_the_announced_steps(write_clips: Callable[..., Path], steps: int) -> None:
    splits = read_splits(write_clips({"one": CLIPS, "two": CLIPS}))
    for rank in range(3):
        batches = list(training(splits, steps=steps, rank=rank, world_size=3, balance=steps == 4))
        assert len(batches) == steps
        assert all(len(batch["key"]) == 3 and batch["mask"].all() for batch in batches)


def test_long_clips_are_cut_at_random_in_training_and_at_the_end_elsewhere(tmp_path: Path) -> None:
    ramp = torch.arange(1000) / 1000
    sample = Sample("x", encode_flac(ramp, 16000), {"labels": ["a"], "duration": 1000 / 16000, "source": "x"})
    write_split(tmp_path / "s", [sample], sample_rate=16000, labels=["a"], clips_per_shard=1, recipe={})
    splits = read_splits(tmp_path)
    ((batch, _),) = ShardStream(splits, EvaluationPlan(splits, 1), crop_seconds=0.01)
    assert batch["waveform"][0].tolist() == pytest.approx(ramp[:160].tolist(), abs=2e-5)
    plan = TrainingPlan(splits, 4, steps=5)
    stream = ShardStream(splits, plan, crop_seconds=0.01, shuffle=10)
    starts = [round(float(x) * 1000) for batch, _ in stream for x in batch["waveform"][:, 0]]
    assert len(set(starts)) > 15
    assert 0 <= min(starts) < 200
    assert 640 < max(starts) <= 840
    assert starts == [round(float(x) * 1000) for batch, _ in stream for x in batch["waveform"][:, 0]]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_a_truncated_tar_is_one_sentence(write_clips: Callable[..., Path], workers: int, mode: str) -> None:
    splits = read_splits(write_clips({"one": CLIPS}))
    path = splits[0].directory / "000002.tar"
    path.write_bytes(path.read_bytes()[:3000])
    if mode == "training":
        loader = training(splits, workers)
    else:
        loader = ShardLoader(ShardStream(splits, EvaluationPlan(splits, 4), crop_seconds=0.01), workers)
    with pytest.raises(
        InputError,
        match=r"^expected at most 1.00% of 1\d clips .* expected \d+ bytes, got 3000 in shard '.*000002.tar'",
    ):
        list(loader)


class Trap:
    """Unpickling it makes a folder."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


def test_nothing_in_a_shard_or_its_name_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # WebDataset runs a command for such a name, and unpickles members that end like this, if it is let.
    directory = Path("pipe:mkdir executed #")
    sample = Sample("x", encode_flac(torch.zeros(160), 16000), {"labels": ["a"], "duration": 0.01, "source": "x"})
    write_split(directory, [sample], sample_rate=16000, labels=["a"], clips_per_shard=1, recipe={})
    path = directory / "000000.tar"
    with tarfile.open(path, "a") as tar:
        for suffix in ("pyd", "pickle", "pkl", "pth"):
            trap = tarfile.TarInfo(f"x.{suffix}")
            trap.size = len(pickle.dumps(Trap()))
            tar.addfile(trap, io.BytesIO(pickle.dumps(Trap())))
    index = read_index(directory)
    splits = [replace(index, shards=[replace(index.shards[0], bytes=path.stat().st_size)])]
    with pytest.raises(InputError, match=r"a member is called 'x\.pyd' or is no plain file"):
        list(training(splits, steps=1))
    assert [entry.name for entry in tmp_path.iterdir()] == [directory.name]
