"""Clips left out: listed, counted by split and cause, and limited."""

import csv

import pytest

from atgnn.data.missing import Missing, check_missing, count_missing
from atgnn.errors import InputError

GONE = [
    Missing("a.wav", "train", "absent", "expected a sound file, got none"),
    Missing("b.wav", "train", "undecodable", "expected audio, got text"),
    Missing("c.wav", "test", "absent", "expected a sound file, got none"),
]
SPLITS = ["train"] * 6 + ["test"] * 4


def test_what_is_allowed_is_listed_in_a_table(tmp_path):
    check_missing(GONE, SPLITS, 0.3, tmp_path / "missing.csv")
    with (tmp_path / "missing.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert [(row["name"], row["split"], row["cause"]) for row in rows] == [clip[:3] for clip in GONE]


def test_one_more_is_too_many_and_named(tmp_path):
    with pytest.raises(InputError, match=r"expected at most 2 of 10 files .*, got 3: 'a\.wav', 'b\.wav'"):
        check_missing(GONE, SPLITS, 0.29, tmp_path / "missing.csv")
    with pytest.raises(InputError, match="got none, or allow some with --max-missing"):
        check_missing(GONE[:1], SPLITS, 0.0, tmp_path / "missing.csv")


def test_no_table_is_left_where_nothing_is_missing(tmp_path):
    (tmp_path / "missing.csv").write_text("of an earlier run")
    check_missing([], SPLITS, 0.0, tmp_path / "missing.csv")
    assert not (tmp_path / "missing.csv").exists()


def test_a_split_may_not_be_lost(tmp_path):
    with pytest.raises(InputError, match="expected clips in every split, got none in 'test'"):
        check_missing(GONE[2:], ["train", "train", "test"], 0.5, tmp_path / "missing.csv")


def test_counts_by_split_and_cause():
    assert count_missing([*GONE, GONE[0]]) == [
        "train: 2 absent clips left out, see missing.csv",
        "train: 1 undecodable clips left out, see missing.csv",
        "test: 1 absent clips left out, see missing.csv",
    ]
