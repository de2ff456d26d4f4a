from __future__ import annotations

import io
import resource
import signal
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
from atgnn.data.listing import Clip
from atgnn.data.shards import clip_keys, write_shards
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


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*.*")}


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
        write_shards(manifest, tmp_path / name, jobs=jobs, clips_per_shard=2, sample_rate=11025)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


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
    with pytest.raises(InputError, match=r"got '.*1.wav', which does not exist; add it, or allow some with --m"):
        write_shards(manifest, out)
    (manifest.parent / "4.wav").write_bytes(b"not audio")
    message = (
        r"expected at most 1 of 6 files to be absent or undecodable, got 2: '1.wav', '4.wav' \(all in '.*/out.part/m"
    )
    with pytest.raises(InputError, match=message):
        write_shards(manifest, out, max_missing=0.2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.part", "source"]
    report = write_shards(manifest, out, max_missing=0.34)
    assert [split.clips for split in report.splits] == [2, 2]
    assert report.notes == [
        "val: 1 absent clips left out, see missing.csv",
        "train: 1 undecodable clips left out, see missing.csv",
    ]
    absent, undecodable = (line.split(",", 3) for line in (out / "missing.csv").read_text().splitlines()[1:])
    assert absent[:3] == ["1.wav", "val", "absent"]
    assert undecodable[:3] == ["4.wav", "train", "undecodable"]
    assert "which cannot be decoded" in undecodable[3]
    check_shards(out)


def test_corrected_files_are_all_that_is_written_again(
    write_manifest: Callable[..., Path], write_tone: Callable[..., Path], tmp_path: Path
) -> None:
    manifest, part = write_manifest(ROWS), tmp_path / "out.part"
    write_shards(manifest, tmp_path / "whole", clips_per_shard=1)
    sound = (manifest.parent / "0.wav").read_bytes()
    (manifest.parent / "0.wav").write_bytes(b"not audio")
    with pytest.raises(InputError, match=r"got '.*0.wav', which cannot be decoded"):
        write_shards(manifest, tmp_path / "out", clips_per_shard=1)
    before = {path.relative_to(part): path.stat().st_ino for path in part.rglob("*.tar")}
    (manifest.parent / "0.wav").write_bytes(sound)
    write_shards(manifest, tmp_path / "out", clips_per_shard=1)
    kept = [path for path, inode in before.items() if (tmp_path / "out" / path).stat().st_ino == inode]
    assert len(before) == 6
    assert len(kept) == 5
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_another_recipe_leaves_nothing_of_the_first(write_manifest: Callable[..., Path], tmp_path: Path) -> None:
    manifest = write_manifest(ROWS)
    (manifest.parent / "0.wav").rename(tmp_path / "0.wav")
    (manifest.parent / "0.wav").write_bytes(b"not audio")
    with pytest.raises(InputError, match="cannot be decoded"):
        write_shards(manifest, tmp_path / "out", clips_per_shard=1)
    (tmp_path / "out.part" / "notes.txt").write_text("of the user")
    (tmp_path / "0.wav").replace(manifest.parent / "0.wav")
    write_shards(manifest, tmp_path / "out", split_by="fold")
    write_shards(manifest, tmp_path / "whole", split_by="fold")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole") | {"notes.txt": b"of the user"}


def test_a_full_disk_leaves_no_index(write_manifest: Callable[..., Path], tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the kernel ends writes alike. Room made, it goes on."""
    manifest, out = write_manifest(ROWS), tmp_path / "out"
    write_shards(manifest, tmp_path / "whole", clips_per_shard=1)
    sizes = [path.stat().st_size for path in (tmp_path / "whole").rglob("*.tar")]
    ended = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (min(sizes) - 512, limits[1]))
    try:
        with pytest.raises(InputError, match=r"expected a folder to write to, got '.*out' \(.*File too large"):
            write_shards(manifest, out, clips_per_shard=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ended)
    assert not out.exists()
    assert not [path for path in (tmp_path / "out.part").rglob("*.*") if path.is_file() and path.name != ".lock"]
    write_shards(manifest, out, clips_per_shard=1)
    assert contents(out) == contents(tmp_path / "whole")


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
