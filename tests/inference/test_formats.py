"""Tags as table, JSON, CSV, Parquet, label track and RTTM."""

import csv
import io
import json

import pytest

from atgnn.errors import InputError
from atgnn.inference.files import Tag
from atgnn.inference.formats import write_tags

FOUND = {"a b.wav": [Tag("Whoosh, swoosh", 0.75, 0.5, 62.25), Tag("Dog", 0.25, 3, 4)], "dir/c.wav": []}


def written(format, found=FOUND):
    file = io.StringIO()
    write_tags(found, format, file)
    return file.getvalue()


def test_text_formats():
    assert json.loads(written("json"))["a b.wav"][1] == {"label": "Dog", "score": 0.25, "start": 3, "end": 4}
    rows = list(csv.DictReader(io.StringIO(written("csv"))))
    assert rows[0] == {
        "file": "a b.wav", "label": "Whoosh, swoosh", "score": "0.7500", "start": "0.500", "end": "62.250",
    }  # fmt: skip
    assert written("rttm").splitlines()[0] == "SPEAKER a_b 1 0.500 61.750 <NA> <NA> Whoosh,_swoosh 0.7500 <NA>"
    assert written("audacity", {"a": FOUND["a b.wav"]}).splitlines()[1] == "3.000000\t4.000000\tDog 0.25"
    table = written("table")
    assert "1:02.25" in table
    assert "none above the threshold" in table


def test_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    with (tmp_path / "tags.parquet").open("w") as file:
        write_tags(FOUND, "parquet", file)
    rows = parquet.read_table(tmp_path / "tags.parquet").to_pylist()
    assert rows[1] == {"file": "a b.wav", "label": "Dog", "score": 0.25, "start": 3, "end": 4}


def test_a_label_track_is_of_one_recording():
    with pytest.raises(InputError, match="expected one recording for a label track, got 2"):
        written("audacity")
