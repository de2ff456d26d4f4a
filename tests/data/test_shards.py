from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from atgnn.audio.files import read_audio
from atgnn.data.archive import Sample, read_shard
from atgnn.data.check import check_shards
from atgnn.data.index import find_splits, read_index
from atgnn.data.shards import clip_keys, write_shards
from atgnn.data.sources import Clip
from atgnn.errors import InputError

ROWS = [
    {"file": "0.wav", "labels": "dog;rare", "split": "train", "fold": "0", "group": "g0"},
    {"file": "1.wav", "labels": "cat", "split": "val", "fold": "1", "group": "g1"},
    {"file": "2.wav", "labels": "", "split": "train", "fold": "0", "group": "g2"},
    {"file": "3.wav", "labels": "dog", "split": "val", "fold": "1", "group": "g3"},
    {"file": "4.wav", "labels": "cat", "split": "train", "fold": "0", "group": "g4"},
    {"file": "5.wav", "labels": "", "split": "val", "fold": "1", "group": "g5"},
]


def samples_of(directory: Path) -> dict[str, Sample]:
    index = read_index(directory)
    return {sample.key: sample for shard in index.shards for sample in read_shard(directory, shard)}


def test_a_manifest_becomes_shards(write_manifest: Callable[..., Path], tmp_path: Path) -> None:
    report = write_shards(write_manifest(ROWS), tmp_path / "out", sample_rate=8000, clips_per_shard=2)
    assert find_splits(tmp_path / "out") == ["train", "val"]
    assert str(report).splitlines()[1:] == ["train: 3 clips, 0.0 min, 2 shards", "val: 3 clips, 0.0 min, 2 shards"]
    assert report.splits == [read_index(tmp_path / "out" / name) for name in ("train", "val")]
    assert report.splits[0].labels == ["cat", "dog", "rare"]
    train = samples_of(tmp_path / "out" / "train")
    assert sorted(train) == ["0", "2", "4"]
    assert train["0"].meta == {"labels": ["dog", "rare"], "duration": 0.1, "source": "0.wav", "group": "g0"}
    assert train["2"].meta["labels"] == []
    assert soundfile.info(io.BytesIO(train["0"].flac)).samplerate == 8000
    expected = read_audio(tmp_path / "source" / "0.wav", 8000)
    assert (read_audio(io.BytesIO(train["0"].flac), 8000) - expected).abs().max() < 1e-4
    check_shards(tmp_path / "out")


def test_the_same_source_gives_the_same_bytes(write_manifest: Callable[..., Path], tmp_path: Path) -> None:
    manifest = write_manifest(ROWS)
    for name, jobs in (("one", 1), ("two", 2)):
        write_shards(manifest, tmp_path / name, jobs=jobs)
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_folds_become_splits(write_manifest: Callable[..., Path], tmp_path: Path) -> None:
    write_shards(write_manifest(ROWS), tmp_path / "out", split_by="fold")
    assert find_splits(tmp_path / "out") == ["fold0", "fold1"]


def test_a_folder_per_label_is_split_by_draw(tmp_path: Path, write_tone: Callable[..., Path]) -> None:
    for label in ("dog", "Beep, bleep"):
        for n in range(10):
            write_tone(tmp_path / "source" / label / f"{n}.wav", seconds=0.01)
    write_shards(tmp_path / "source", tmp_path / "out", val_fraction=0.2, test_fraction=0.2)
    splits = {name: samples_of(tmp_path / "out" / name) for name in ("train", "val", "test")}
    assert {name: len(samples) for name, samples in splits.items()} == {"train": 12, "val": 4, "test": 4}
    assert "dog-3" in {key for samples in splits.values() for key in samples}
    assert read_index(tmp_path / "out" / "val").label_counts == [2, 2]


def test_labels_of_few_clips_are_left_out(write_manifest: Callable[..., Path], tmp_path: Path) -> None:
    report = write_shards(write_manifest(ROWS), tmp_path / "out", min_clips=2)
    assert report.splits[0].labels == ["cat", "dog"]
    assert samples_of(tmp_path / "out" / "train")["0"].meta["labels"] == ["dog"]
    assert sum(split.clips for split in report.splits) == 6


def test_a_given_vocabulary_fixes_the_order(write_manifest: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("rare\ndog\nunheard\ncat\n")
    report = write_shards(write_manifest(ROWS), tmp_path / "out", labels=tmp_path / "labels.txt")
    assert report.splits[0].labels == ["rare", "dog", "unheard", "cat"]
    (tmp_path / "labels.txt").write_text("dog\ncat\n")
    with pytest.raises(InputError, match=r"expected one of the 2 labels .* got 'rare' in clip '0\.wav'"):
        write_shards(tmp_path / "source", tmp_path / "other", labels=tmp_path / "labels.txt")
    assert not (tmp_path / "other").exists()


def test_absent_and_undecodable_files(write_manifest: Callable[..., Path], tmp_path: Path) -> None:
    manifest, out = write_manifest(ROWS), tmp_path / "out"
    (manifest.parent / "1.wav").unlink()
    with pytest.raises(
        InputError, match=r"got '.*1.wav', which does not exist; correct the path, or allow some with --m"
    ):
        write_shards(manifest, out)
    (manifest.parent / "4.wav").write_bytes(b"not audio")
    message = (
        "expected at most 1 of 6 files to be absent or undecodable, got 2: '1.wav', '4.wav'; correct them or allow"
    )
    with pytest.raises(InputError, match=message):
        write_shards(manifest, out, max_missing=0.2)
    # Nothing half-written stays behind.
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    report = write_shards(manifest, out, max_missing=0.34)
    assert [split.clips for split in report.splits] == [2, 2]
    assert len(report.missing) == 2
    assert "left out: expected a sound file that libsndfile reads, got" in str(report)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "expected at least one sample, got none in '.*3.wav'"),
        ([0.0, np.nan], "expected finite samples, got NaN or infinity in"),
    ],
)
def test_empty_and_non_finite_recordings(
    write_manifest: Callable[..., Path], tmp_path: Path, samples: list[float], message: str
) -> None:
    manifest = write_manifest(ROWS)
    soundfile.write(manifest.parent / "3.wav", np.array(samples), 16000, subtype="FLOAT")
    with pytest.raises(InputError, match=message):
        write_shards(manifest, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_split_without_a_usable_clip_is_refused(write_manifest: Callable[..., Path], tmp_path: Path) -> None:
    manifest = write_manifest([*ROWS, {"file": "6.wav", "labels": "dog", "split": "test", "fold": "0", "group": "g6"}])
    (manifest.parent / "6.wav").unlink()
    with pytest.raises(InputError, match="expected clips in every split, got none in 'test'"):
        write_shards(manifest, tmp_path / "out", max_missing=0.5)
    assert not (tmp_path / "out").exists()


def test_finished_shards_are_kept_unless_told(write_manifest: Callable[..., Path], tmp_path: Path) -> None:
    manifest = write_manifest(ROWS)
    write_shards(manifest, tmp_path / "out")
    with pytest.raises(InputError, match="choose another name or give --overwrite"):
        write_shards(manifest, tmp_path / "out")
    write_shards(manifest, tmp_path / "out", split_by="fold", overwrite=True)
    assert find_splits(tmp_path / "out") == ["fold0", "fold1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_rate": 0}, "expected sample_rate of at least 1, got 0"),
        ({"jobs": 0}, "expected jobs of at least 1"),
        ({"val_fraction": 0.6, "test_fraction": 0.4}, "expected fractions that leave clips to train on"),
        ({"max_missing": 1.0}, "expected max_missing from 0 to below 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_shards(tmp_path, tmp_path / "out", **options)


def test_keys_are_short_where_they_can_be_and_always_different() -> None:
    names = ["x/a.wav", "y/a.flac", "y/b c.d.wav", "z/ünï.wav", "x-a.wav", "ü.wav", "ö.wav", "n" * 200 + ".wav"]
    keys = clip_keys([Clip(Path(name), name, ()) for name in names])
    assert keys[:5] == ["x-a", "y-a", "b-c-d", "n", "x-a-2"]
    assert len(set(keys)) == len(names)
    assert max(map(len, keys)) < 90
