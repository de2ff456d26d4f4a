"""Clips that cannot be used are left out, told of and counted; the others stay where they are."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from atgnn.audio.files import encode_flac
from atgnn.data import archive
from atgnn.data.archive import Sample, write_split
from atgnn.data.faults import Fault, Faults
from atgnn.data.index import SplitIndex, read_splits
from atgnn.data.plan import EvaluationPlan, TrainingPlan
from atgnn.data.stream import ShardLoader, ShardStream
from atgnn.errors import InputError

GOOD = encode_flac(torch.full((160,), 0.25), 16000)


def wav(samples: np.ndarray) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, 16000, format="WAV", subtype="FLOAT")
    return stream.getvalue()


BAD = {
    "unreadable": b"no sound",
    "truncated": encode_flac(torch.randn(300) / 9, 16000)[:400],
    "silent": encode_flac(torch.zeros(160), 16000),
    "not finite": wav(np.array([0.1, np.nan], np.float32)),
    "empty": wav(np.zeros(0, np.float32)),
    "too long": encode_flac(torch.full((321,), 0.5), 16000),
}


@pytest.fixture
def splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[SplitIndex]:
    """Two good clips beside every bad one, in one shard, and a shard of two clips."""
    monkeypatch.setattr(archive, "MAX_CLIP_SECONDS", 0.02)
    meta: dict[str, Any] = {"labels": ["a"], "duration": 0.01, "source": ""}
    bad = [("metadata", GOOD, meta), ("labels", GOOD, meta), *((cause, flac, meta) for cause, flac in BAD.items())]
    samples = [
        Sample(f"{cause.replace(' ', '-')}-{n}", flac if n == 1 else GOOD, meta)
        for cause, flac, meta in bad
        for n in range(3)
    ]
    samples += [Sample(f"last-{n}", GOOD, meta) for n in range(2)]
    write_split(tmp_path / "s", samples, sample_rate=16000, labels=["a", "b"], clips_per_shard=24, recipe={})
    path = tmp_path / "s" / "000000.tar"
    meta_bytes, data = json.dumps(meta).encode(), path.read_bytes()
    for key, new in (("metadata-1", meta_bytes[:-1] + b","), ("labels-1", meta_bytes.replace(b'"a"', b'"b"'))):
        place = data.index(meta_bytes, data.index(f"{key}.json".encode()))
        data = data[:place] + new + data[place + len(new) :]
    path.write_bytes(data)
    return read_splits(tmp_path)


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_clips_are_masked_and_do_not_shift_others(
    splits: list[SplitIndex], workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    (splits[0].directory / "000001.tar").unlink()
    plan = EvaluationPlan(splits, 4)
    loader = ShardLoader(ShardStream(splits, plan, crop_seconds=0.01), workers, max_bad_fraction=0.5)
    with caplog.at_level(logging.WARNING):
        batches = list(loader)
    assert len(batches) == len(loader) == 7
    seen = [pair for batch in batches for pair in zip(batch["key"], batch["mask"].tolist(), strict=True)]
    assert sorted(key for key, real in seen if real) == sorted(
        f"{cause.replace(' ', '-')}-{n}" for cause in ("metadata", "labels", *BAD) for n in (0, 2)
    )
    for batch in batches:
        assert not batch["waveform"][~batch["mask"]].any()
        assert not batch["targets"][~batch["mask"]].any()
    report = caplog.messages[-1]
    assert report.startswith("left out of 28 clips: 2 shard (clip ")
    for cause in ("metadata", "labels", *BAD):
        key = f"{cause.replace(' ', '-')}-1"
        assert f"1 {cause} ({key})" in report
        assert any(f"clip '{key}' is left out, number 1 ({cause}): expected" in line for line in caplog.messages)


def test_training_goes_on_without_them(splits: list[SplitIndex]) -> None:
    plan = TrainingPlan(splits, 5, steps=9, balance=True)
    loader = ShardLoader(ShardStream(splits, plan, crop_seconds=0.01, shuffle=9), 0, max_bad_fraction=0.5)
    batches = list(loader)
    assert [len(batch["key"]) for batch in batches] == [5] * 9
    assert 0 < sum(int((~batch["mask"]).sum()) for batch in batches) < 23


def test_too_many_stop_the_run(splits: list[SplitIndex]) -> None:
    loader = ShardLoader(ShardStream(splits, EvaluationPlan(splits, 4), crop_seconds=0.01), 0, max_bad_fraction=0.1)
    message = r"expected at most 10.00% of 28 clips to be bad, got 1 metadata \(metadata-1\); .*raise max_bad_fraction"
    with pytest.raises(InputError, match=message):
        list(loader)


def test_the_first_and_every_thousandth_are_told(caplog: pytest.LogCaptureFixture) -> None:
    faults = Faults(10_000, 0.5)
    for n in range(2500):
        faults.add(Fault(f"k{n}", "silent", "expected sound"))
    assert [message.split(",")[0] for message in caplog.messages] == [
        f"clip '{key}' is left out" for key in ("k0", "k1000", "k2000")
    ]
    assert str(faults) == "2500 silent (k0, k1, k2, k3, k4, …)"


def test_a_clean_epoch_says_nothing(write_clips: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    splits = read_splits(write_clips({"val": [["a"]] * 3}))
    list(ShardLoader(ShardStream(splits, EvaluationPlan(splits, 2), crop_seconds=0.01), 0, max_bad_fraction=0.0))
    assert not caplog.messages
