from __future__ import annotations

from pathlib import Path

import pytest

from atgnn.data.labels import Vocabulary, common_labels, read_vocabulary
from atgnn.errors import InputError


def test_targets_follow_the_order_of_the_vocabulary() -> None:
    vocabulary = Vocabulary(["dog", "Beep, bleep", "cat"])
    assert vocabulary.indices([], "x") == []
    assert vocabulary.indices(["cat", "dog", "cat"], "x") == [0, 2]


def test_an_unknown_label_is_named() -> None:
    with pytest.raises(InputError, match="expected one of the 2 labels of the vocabulary, got 'cow' in clip 'a17'"):
        Vocabulary(["dog", "cat"]).indices(["cow"], "a17")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "expected label names"),
        (["a", ""], "expected label names"),
        (["a", "b", "a"], r"got \['a'\] more than once"),
    ],
)
def test_a_vocabulary_has_different_names(labels: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Vocabulary(labels)


def test_a_vocabulary_is_read_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("\ufeffdog\n\n Beep, bleep \n", encoding="utf-8")
    assert read_vocabulary(tmp_path / "labels.txt").labels == ["dog", "Beep, bleep"]
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(InputError, match="expected one label a line, got nothing"):
        read_vocabulary(tmp_path / "empty.txt")
    with pytest.raises(InputError, match=r"expected a text file with one label a line, got '.*absent.txt'"):
        read_vocabulary(tmp_path / "absent.txt")


def test_common_labels_are_carried_by_enough_clips() -> None:
    clips = [["b", "a"], ["b", "b"], ["c"]]
    assert common_labels(clips, 1) == ["a", "b", "c"]
    assert common_labels(clips, 2) == ["b"]
    with pytest.raises(InputError, match="expected a label carried by 3 clips, got at most 2; lower --min-clips"):
        common_labels(clips, 3)


def test_vocabularies_as_the_data_sets_publish_them(tmp_path):
    (tmp_path / "vocabulary.csv").write_text("1,Bark,/m/05tny_\n0,Accelerating_and_revving_and_vroom,/m/07q2z82\n")
    assert read_vocabulary(tmp_path / "vocabulary.csv").labels == ["Accelerating_and_revving_and_vroom", "Bark"]
    (tmp_path / "class_labels_indices.csv").write_text(
        'index,mid,display_name\n0,/m/09x0r,"Speech"\n1,/m/05zppz,"Male speech, man speaking"\n'
    )
    assert read_vocabulary(tmp_path / "class_labels_indices.csv").labels == ["Speech", "Male speech, man speaking"]


@pytest.mark.parametrize("text", ["", "0,Bark\n", "0,Bark,/m/a\n2,Growl,/m/b\n", "Bark\nGrowl\n"])
def test_no_table_of_classes(tmp_path, text):
    (tmp_path / "vocabulary.csv").write_text(text)
    with pytest.raises(InputError):
        read_vocabulary(tmp_path / "vocabulary.csv")
