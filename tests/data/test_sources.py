from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from atgnn.data.sources import read_source
from atgnn.errors import InputError


def test_a_folder_per_label(tmp_path: Path, write_tone: Callable[..., Path]) -> None:
    write_tone(tmp_path / "dog" / "a.wav")
    write_tone(tmp_path / "dog" / "park" / "b.flac")
    write_tone(tmp_path / "Beep, bleep" / "a.ogg")
    (tmp_path / "dog" / "notes.txt").write_text("not a sound")
    (tmp_path / "dog" / ".hidden.wav").write_text("not a sound")
    (tmp_path / "dog" / "phone.m4a").write_text("listed, so that decoding says what is wrong")
    clips = read_source(tmp_path).clips
    assert [(clip.name, clip.labels) for clip in clips] == [
        ("Beep, bleep/a.ogg", ("Beep, bleep",)),
        ("dog/a.wav", ("dog",)),
        ("dog/park/b.flac", ("dog",)),
        ("dog/phone.m4a", ("dog",)),
    ]
    assert all(clip.file.is_file() for clip in clips)


def test_a_manifest_and_its_optional_columns(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(
        'file,labels,group,fold,split,extra\nx/a.wav,"dog; Beep, bleep;dog",g1,0,train,1\nb.wav,,,,,\n'
    )
    first, second = read_source(tmp_path).clips
    assert read_source(tmp_path / "manifest.csv").clips == [first, second]
    assert (first.file, first.name) == (tmp_path / "x/a.wav", "x/a.wav")
    assert first.labels == ("dog", "Beep, bleep")
    assert (first.group, first.fold, first.split) == ("g1", "0", "train")
    assert (second.labels, second.group, second.fold, second.split) == ((), None, None, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,tags\na.wav,x\n", "expected the columns file and labels, got file, tags in '.*'; add labels"),
        ("", "got an empty file in '.*'; add file and labels"),
        ("file,labels\n", "expected clips, got none in"),
        ("file,labels\n,dog\n", "expected file and one cell per column, got something else in line 2"),
        ("file,labels\na.wav,Beep, bleep\n", "got something else in line 2 of '.*'; quote labels that hold a comma"),
        ("file,labels\na.wav,x\na.wav,y\n", "expected each file once, got 'a.wav' again in line 3"),
        ('file,labels\na.wav,"x\n', "expected a CSV file in UTF-8"),
    ],
)
def test_an_unusable_manifest_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_source(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes(b"file,labels\n\xff\xfe,a\n")
    with pytest.raises(InputError, match="expected a CSV file in UTF-8"):
        read_source(tmp_path)


def test_nothing_to_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got '.*absent', which does not exist; correct the path"):
        read_source(tmp_path / "absent")
    with pytest.raises(InputError, match="expected clips, got none in"):
        read_source(tmp_path)


def test_the_bundled_manifest_agrees_with_its_recordings() -> None:
    mini = Path(__file__).parents[2] / "data" / "mini"
    clips = read_source(mini).clips
    assert len(clips) == 108
    assert {clip.file for clip in clips} == set((mini / "clips").iterdir())
    credits = (mini / "CREDITS.md").read_text(encoding="utf-8")
    assert all(f"| {clip.file.name} |" in credits for clip in clips)
    assert {clip.split for clip in clips} == {"train", "val", "test"}
