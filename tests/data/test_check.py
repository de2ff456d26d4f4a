from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch

from atgnn.audio.files import encode_flac
from atgnn.data.archive import Sample, file_digest, write_split
from atgnn.data.check import check_shards
from atgnn.errors import InputError

CLIPS = [["a"], ["a", "c"], [], ["c"], ["b"]]


def test_whole_shards_pass(write_clips: Callable[..., Path]) -> None:
    report = check_shards(write_clips({"train": CLIPS, "val": CLIPS}))
    assert [(split.name, split.clips) for split in report.splits] == [("train", 5), ("val", 5)]


def test_every_fault_is_named(write_clips: Callable[..., Path]) -> None:
    shards = write_clips({"train": CLIPS, "val": CLIPS})
    first, second = shards / "train" / "000000.tar", shards / "train" / "000001.tar"
    data = bytearray(first.read_bytes())
    data[data.index(b"fLaC") : data.index(b"fLaC") + 4] = b"XXXX"
    first.write_bytes(data)
    second.write_bytes(second.read_bytes()[:1000])
    (shards / "val" / "000009.tar").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        check_shards(shards)
    message = str(caught.value)
    assert message.startswith("expected whole shards, got 4 faults in")
    assert "000000.tar' has another SHA-256 than its index says" in message
    assert "clip 'train-0000' in" in message
    assert "which cannot be decoded" in message
    assert "got 1000 in shard" in message
    assert "000009.tar' is not in the index" in message


def test_labels_other_than_the_index_says(write_clips: Callable[..., Path]) -> None:
    path = write_clips({"train": CLIPS}) / "train" / "index.json"
    content = json.loads(path.read_text())
    content["shards"][0]["targets"][:2] = [[0, 2], [0]]
    path.write_text(json.dumps(content))
    with pytest.raises(
        InputError, match=r"got 2 faults in .*'train-0000' in '.*' has other labels than its index says"
    ):
        check_shards(path.parents[1])


def test_another_sample_rate_and_a_shared_group(tmp_path: Path) -> None:
    for split in ("train", "val"):
        sample = Sample("x", encode_flac(torch.zeros(80), 8000), {"labels": ["a"], "duration": 0.01, "group": "g"})
        write_split(tmp_path / split, [sample], sample_rate=16000, labels=["a"], clips_per_shard=1, recipe={})
    with pytest.raises(InputError, match="has 8000 Hz") as caught:
        check_shards(tmp_path)
    assert "group 'g' lies in 'train' and 'val'" in str(caught.value)


def test_a_clip_too_many(write_clips: Callable[..., Path]) -> None:
    shards = write_clips({"train": CLIPS})
    path, tar = shards / "train" / "index.json", shards / "train" / "000000.tar"
    content = json.loads(path.read_text())
    content["shards"][0] |= {"clips": 3, "targets": [[0], [0, 2], []], "sha256": file_digest(tar)}
    content |= {"clips": 4, "label_counts": {"a": 2, "b": 1, "c": 1}}
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"expected 3 clips, got more in shard .*000000\.tar"):
        check_shards(shards)


def test_no_shards(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected shards, got none in"):
        check_shards(tmp_path)


def test_flac_stays_readable_by_others() -> None:
    info = soundfile.info(io.BytesIO(encode_flac(torch.zeros(80), 8000)))
    assert (info.samplerate, info.channels, info.format, info.subtype) == (8000, 1, "FLAC", "PCM_16")
