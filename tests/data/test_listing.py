"""Tables and names of a source, before anything is decoded."""

import pytest

from atgnn.data.listing import is_readable, is_sound, read_table
from atgnn.errors import InputError


def test_rows_are_numbered_and_cells_stripped(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes('\ufefffile,labels\n a.wav , "Rain, Dog"\nb.wav\n'.encode())
    rows = [*read_table(path, ("file", "labels"), filled=("file",))]
    assert rows == [(2, {"file": "a.wav", "labels": "Rain, Dog"}), (3, {"file": "b.wav", "labels": ""})]


def test_without_a_header_a_hash_begins_a_comment(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("# YTID, start\nabc, 30.000\n")
    assert [*read_table(path, ("name", "start"), header=False)] == [(2, {"name": "abc", "start": "30.000"})]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\na.wav\n", r"expected the columns file and labels, got file in '.*'; add labels"),
        ("", "got an empty file in"),
        ("file,labels\na.wav,Dog,Rain\n", "got something else in line 2 of .*; quote labels that hold a comma"),
        ("file,labels\n,Dog\n", "expected file and labels and one cell per column, got something else in line 2"),
    ],
)
def test_a_table_that_does_not_fit(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        list(read_table(tmp_path / "a.csv", ("file", "labels")))


def test_no_table(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"file,labels\n\xff\xfe,Dog\n")
    for path in (tmp_path / "a.csv", tmp_path / "b.csv", tmp_path):
        with pytest.raises(InputError, match="expected a CSV file in UTF-8, got"):
            list(read_table(path, ("file",)))


def test_names_of_sounds():
    assert all(map(is_sound, ("a.wav", "b.FLAC", "c.opus", "d.mp3", "e.m4a")))
    assert not any(map(is_sound, ("labels.csv", ".hidden.wav", "wav", "a.wav.txt")))
    assert is_readable("a.wav")
    assert not is_readable("e.m4a"), "which decoding will refuse by name"
