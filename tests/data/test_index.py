from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atgnn.data import index as index_module
from atgnn.data.index import read_index, read_splits
from atgnn.errors import InputError

CLIPS = [["a"], ["a", "c"], [], ["c"], ["b"]]


def test_an_index_says_what_is_in_the_shards(write_clips: Callable[..., Path]) -> None:
    index = read_index(write_clips({"train": CLIPS}) / "train")
    assert (index.name, index.sample_rate, index.labels, index.clips) == ("train", 16000, ["a", "b", "c"], 5)
    assert [(shard.name, shard.clips) for shard in index.shards] == [("000000.tar", 4), ("000001.tar", 1)]
    assert index.shards[0].targets == [[0], [0, 2], [], [2]]
    assert index.label_counts == [2, 1, 2]
    assert index.seconds == pytest.approx(0.05)


def test_the_digest_follows_content(write_clips: Callable[..., Path]) -> None:
    one, same, other = (
        read_index(write_clips({"train": clips}, name=name) / "train")
        for name, clips in (("one", CLIPS), ("same", CLIPS), ("other", CLIPS[:4]))
    )
    assert one.digest == same.digest != other.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "expected shards of version 1, got 2"),
        ({"clips": 7}, "expected a whole index, got one that is damaged in '.*its clips do not add up"),
        ({"sample_rate": "16000"}, "expected a whole number, got '16000'"),
        ({"labels": ["a", "a", "c"]}, "expected each label once"),
        ({"labels": None}, "damaged"),
        (
            {"shards": [{"name": "pipe:date", "clips": 0, "bytes": 0, "sha256": "", "targets": []}]},
            "called 'pipe:date'",
        ),
        (
            {"shards": [{"name": "../0.tar", "clips": 0, "bytes": 0, "sha256": "", "targets": []}]},
            r"called '\.\./0\.tar",
        ),
        ({"shards": [], "clips": 0, "label_counts": {"a": 0, "b": 0, "c": 0}}, "expected clips, got an empty split"),
    ],
)
def test_a_damaged_index_is_refused(write_clips: Callable[..., Path], change: dict[str, Any], message: str) -> None:
    path = write_clips({"train": CLIPS}) / "train" / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        read_index(path.parent)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xff", b"[" * 100_000])
def test_what_is_no_index_is_refused(write_clips: Callable[..., Path], content: bytes) -> None:
    path = write_clips({"train": CLIPS}) / "train" / "index.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match="expected a whole index, got one that is damaged"):
        read_index(path.parent)


def test_a_truncated_or_endless_index_is_refused(
    write_clips: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clips({"train": CLIPS}) / "train" / "index.json"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"damaged in '.*index\.json'"):
        read_index(path.parent)
    monkeypatch.setattr(index_module, "MAX_BYTES", 100)
    with pytest.raises(InputError, match="expected an index below 100 bytes"):
        read_index(path.parent)


def test_splits_are_read_together(write_clips: Callable[..., Path], tmp_path: Path) -> None:
    shards = write_clips({"train": CLIPS, "test": CLIPS[:1]})
    assert [split.name for split in read_splits(shards)] == ["test", "train"]
    assert [split.name for split in read_splits(shards, ["train"])] == ["train"]
    with pytest.raises(InputError, match="expected one of the splits test, train, got val for"):
        read_splits(shards, ["val"])
    with pytest.raises(InputError, match=r"expected shards, got none in '.*'; make them with atgnn shards write"):
        read_splits(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"expected shards, got no index\.json in"):
        read_index(tmp_path / "nowhere")


def test_splits_with_different_labels_are_refused(write_clips: Callable[..., Path]) -> None:
    shards = write_clips({"train": CLIPS})
    other = write_clips({"val": CLIPS}, labels=("a", "c", "b"), name="other")
    (other / "val").rename(shards / "val")
    with pytest.raises(InputError, match="expected the same labels and sample rate in all splits, got different ones"):
        read_splits(shards)


@pytest.mark.parametrize("position", [3, 10**9, 10**30])
def test_labels_beyond_the_vocabulary_are_refused(write_clips: Callable[..., Path], position: int) -> None:
    path = write_clips({"train": CLIPS}) / "train" / "index.json"
    content = json.loads(path.read_text())
    content["shards"][0]["targets"][0] = [position]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"'000000\.tar' has labels beyond the vocabulary"):
        read_index(path.parent)
