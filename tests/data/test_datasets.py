from __future__ import annotations

import csv
import shutil
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from atgnn.data.check import check_shards
from atgnn.data.datasets import read_audioset, read_fsd50k
from atgnn.data.index import Shard, SplitIndex
from atgnn.data.labels import Vocabulary
from atgnn.data.plan import TrainingPlan, balanced_weights
from atgnn.data.shards import write_shards
from atgnn.data.sources import read_source
from atgnn.errors import InputError

LABELS = Path(__file__).parents[3] / "shared" / "labels"
needs_labels = pytest.mark.skipif(not LABELS.is_dir(), reason="needs ../shared/labels, the vocabularies at full size")


@pytest.fixture
def copied(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of one of the sources, to be damaged."""
    return Path(shutil.copytree(request.getfixturevalue(request.param), tmp_path / request.param))


def test_fsd50k(fsd50k: Path) -> None:
    listing = read_source(fsd50k)
    assert listing.labels == ["Chirp_and_tweet", "Writing", "Acoustic_guitar", "Guitar"]
    assert Counter(clip.split for clip in listing.clips) == {"train": 12, "val": 4, "test": 6}
    assert listing.clips[1].labels == ("Acoustic_guitar", "Guitar")
    assert listing.clips[1].name == "FSD50K.dev_audio/1001.wav"
    assert all(clip.file.is_file() for clip in listing.clips)
    assert listing.notes == [
        "expected 200 labels, got 4: this is a part of FSD50K",
        "expected 40966 dev clips, got 16: this is a part of FSD50K",
        "expected 10231 eval clips, got 6: this is a part of FSD50K",
    ]


@pytest.mark.parametrize("copied", ["fsd50k"], indirect=True)
def test_fsd50k_under_other_names_and_in_part(copied: Path) -> None:
    (copied / "FSD50K.ground_truth").rename(copied / "ground_truth")
    (copied / "FSD50K.dev_audio").rename(copied / "dev_audio")
    (copied / "ground_truth" / "eval.csv").unlink()
    listing = read_source(copied)
    assert Counter(clip.split for clip in listing.clips) == {"train": 12, "val": 4}
    assert all(clip.file.is_file() for clip in listing.clips)


@pytest.mark.parametrize("copied", ["fsd50k"], indirect=True)
@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("dev.csv", ",split", "", "expected the columns fname and labels and split, got fname, labels, mids in"),
        ("dev.csv", ",train", "", "expected fname and labels and split and one cell per column, .* in line 2"),
        ("vocabulary.csv", "3,", "7,", "expected classes numbered from 0 in '.*vocabulary.csv', got other numbers"),
    ],
)
def test_damaged_tables_of_fsd50k(copied: Path, file: str, old: str, new: str, message: str) -> None:
    path = copied / "FSD50K.ground_truth" / file
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        read_fsd50k(copied)


def test_audioset(audioset: Path) -> None:
    listing = read_source(audioset)
    assert listing.labels == ["Speech", "Chirp, tweet", "Male speech, man speaking", "Music"]
    assert Counter(clip.split for clip in listing.clips) == {"balanced_train": 8, "unbalanced_train": 4, "eval": 8}
    assert [clip.labels for clip in listing.clips[:3]] == [
        ("Speech", "Chirp, tweet"),
        ("Chirp, tweet", "Chirp, tweet"),
        ("Male speech, man speaking", "Chirp, tweet"),
    ]
    assert all(clip.file.is_file() for clip in listing.clips)
    assert len({clip.file for clip in listing.clips}) == 20
    assert listing.clips[0].name == "Y-Yclip0_00-_0"
    assert "expected 527 classes, got 4: this is a part of AudioSet" in listing.notes
    assert "expected 2041789 unbalanced_train segments, got 4: this is a part of AudioSet" in listing.notes


@pytest.mark.parametrize("copied", ["audioset"], indirect=True)
def test_audioset_takes_the_right_file_of_a_segment(copied: Path) -> None:
    first, audio = "-Yclip0_00-", copied / "audio"
    (audio / f"{first}.wav").rename(audio / f"{first}_5000_15000.wav")  # another segment of the same recording
    (audio / f"{first}.info.json").write_text("{}")
    (copied / "unbalanced_train_segments.csv").unlink()
    clips = read_audioset(copied).clips
    assert Counter(clip.split for clip in clips) == {"balanced_train": 8, "eval": 8}
    assert clips[0].file == audio / f"{first}.wav"
    assert not clips[0].file.exists()
    (audio / f"{first}_0.000_10.000.m4a").write_text("not for libsndfile")
    assert read_audioset(copied).clips[0].file.suffix == ".m4a"
    (audio / f"{first}_0.000.flac").write_text("of a name that libsndfile knows")
    assert read_audioset(copied).clips[0].file.suffix == ".flac"


@pytest.mark.parametrize("copied", ["audioset"], indirect=True)
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("/m/0", "/m/none", "expected seconds and classes of class_labels_indices.csv, got '/m/none' in line 4 of"),
        ("10.000", "ten", "got could not convert string to float: 'ten' in line 5"),
        ('"/m/0,/m/1"', "/m/0,/m/1", "one cell per column, got something else in line 4 of"),
        (', "/m/0,/m/1"', "", "expected YTID and start_seconds and .* got something else in line 4"),
    ],
)
def test_damaged_tables_of_audioset(copied: Path, old: str, new: str, message: str) -> None:
    path = copied / "balanced_train_segments.csv"
    if old == "10.000":
        path.write_text(path.read_text().replace("_01-, 10.000", "_01-, ten"))
    else:
        path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        read_audioset(copied)


@pytest.mark.parametrize("copied", ["fsd50k", "audioset"], indirect=True)
def test_shards_keep_order_and_name_what_is_missing(copied: Path, tmp_path: Path) -> None:
    clips = read_source(copied).clips
    short, absent, broken = (clip.file for clip in clips[:3])
    soundfile.write(short, np.full(100, 0.1), 44100)  # shorter than a frame
    absent.unlink()
    broken.write_bytes(b"not audio")
    report = write_shards(copied, tmp_path / "out", max_missing=0.1)
    check_shards(tmp_path / "out")
    assert report.splits[0].labels == read_source(copied).labels
    assert sum(split.clips for split in report.splits) == len(clips) - 2
    assert [note for note in report.notes if "left out" in note] == [
        f"{clips[0].split}: 1 absent clips left out, see missing.csv",
        f"{clips[0].split}: 1 undecodable clips left out, see missing.csv",
    ]
    assert sum("this is a part of" in line for line in str(report).splitlines()) >= 3
    (tmp_path / "labels.txt").write_text("\n".join(sorted(report.splits[0].labels, reverse=True)))
    report = write_shards(copied, tmp_path / "other", max_missing=0.1, labels=tmp_path / "labels.txt")
    assert report.splits[0].labels == sorted(report.splits[0].labels, reverse=True)
    (tmp_path / "labels.txt").write_text("Writing\nSpeech\n")
    with pytest.raises(InputError, match="expected one of the 2 labels of the vocabulary, got"):
        write_shards(copied, tmp_path / "third", max_missing=0.1, labels=tmp_path / "labels.txt")


def split_of(labels: list[str], clips: list[tuple[str, ...]], name: str = "train") -> SplitIndex:
    """An index made from metadata alone, in shards of 256."""
    vocabulary = Vocabulary(labels)
    targets = [vocabulary.indices(carried, "clip") for carried in clips]
    shards = [Shard(f"{n:06d}.tar", 0, "", targets[n * 256 : (n + 1) * 256]) for n in range(-(-len(targets) // 256))]
    return SplitIndex(Path(name), 16000, labels, shards, 0.0)


def assert_balanced(split: SplitIndex, draws: int) -> None:
    """Rare labels are drawn as often as their weights say, and far more evenly than they are."""
    weights, counts = balanced_weights([split]), np.array(split.label_counts)
    assert weights.sum() == pytest.approx((counts > 0).sum(), rel=1e-9)
    plan = TrainingPlan([split], 96, steps=draws // 96, balance=True)
    drawn = np.bincount(plan.draws(0), minlength=split.clips)
    # Systematic sampling: within one of its share for each pass.
    passes = -(-draws // split.clips)
    share = weights / weights.sum() * drawn.sum()
    assert np.abs(drawn - share).max() <= passes + 1
    targets = [labels for shard in split.shards for labels in shard.targets]
    heard = np.zeros(len(counts))
    for labels, times in zip(targets, drawn, strict=True):
        heard[labels] += times
    assert heard.max() / heard.min() < 0.5 * counts.max() / counts.min()
    assert heard.min() > 0.5 * draws / len(counts)


@needs_labels
def test_fsd50k_at_full_size(tmp_path: Path) -> None:
    """Each label is carried by as many clips as in FSD50K, each clip carries two or three."""
    with (LABELS / "fsd50k_label_counts.csv").open() as file:
        counts = {row["label"]: int(row["clips"]) for row in csv.DictReader(file)}
    carried: list[list[str]] = [[] for _ in range(51_197)]
    order = np.random.default_rng(0).permutation(len(carried))
    for place, label in enumerate(label for label, count in counts.items() for _ in range(count)):
        carried[order[place % len(carried)]].append(label)
    truth = tmp_path / "FSD50K.ground_truth"
    truth.mkdir()
    names = sorted(counts, key=str.swapcase)
    (truth / "vocabulary.csv").write_text("".join(f"{n},{name},/m/{n}\n" for n, name in enumerate(names)))
    rows = [f'{n},"{",".join(labels)}","/m/0"' for n, labels in enumerate(carried)]
    dev = [f"{row},{'val' if n % 10 == 0 else 'train'}" for n, row in enumerate(rows[:40_966])]
    (truth / "dev.csv").write_text("\n".join(["fname,labels,mids,split", *dev]))
    (truth / "eval.csv").write_text("\n".join(["fname,labels,mids", *rows[40_966:]]))
    began = time.monotonic()
    listing = read_source(tmp_path)
    assert time.monotonic() - began < 20
    assert listing.notes == []
    assert listing.labels == names
    assert len(names) == 200
    split = split_of(names, [clip.labels for clip in listing.clips])
    assert split.clips == 51_197
    assert dict(zip(names, split.label_counts, strict=True)) == counts
    assert_balanced(split, 3 * 51_197)


@needs_labels
def test_audioset_at_full_size(tmp_path: Path) -> None:
    """527 classes in their order, the segments of the balanced and the eval set, two to four labels each."""
    shutil.copy(LABELS / "audioset_class_labels_indices.csv", tmp_path / "class_labels_indices.csv")
    with (tmp_path / "class_labels_indices.csv").open() as file:
        classes = list(csv.DictReader(file))
    rng = np.random.default_rng(0)
    chances = 1 / np.arange(1, 528)
    for part, count in (("balanced_train", 22_160), ("eval", 20_371)):
        drawn = rng.choice(527, (count, 3), p=chances / chances.sum())
        drawn[:527, 0] = np.arange(527)
        lines = [
            f'{part[:2]}-{n:07d}_, {n % 300}.000, {n % 300 + 10}.000, "{",".join(classes[i]["mid"] for i in labels)}"'
            for n, labels in enumerate(drawn)
        ]
        (tmp_path / f"{part}_segments.csv").write_text(
            "\n".join(["# Segments csv", "# num_ytids=9, num_segs=9", *lines])
        )
    listing = read_source(tmp_path)
    assert listing.labels == [row["display_name"] for row in classes]
    assert len(listing.labels) == 527
    assert listing.labels[1] == "Male speech, man speaking"
    assert listing.notes == ["expected 2041789 unbalanced_train segments, got 0: this is a part of AudioSet"]
    balanced = [clip.labels for clip in listing.clips if clip.split == "balanced_train"]
    split = split_of(listing.labels, balanced)
    assert split.clips == 22_160
    assert min(split.label_counts) >= 1
    assert_balanced(split, 3 * 22_160)
