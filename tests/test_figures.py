"""Figures of a test: the table, JSON and CSV say the same, and what cannot be compared is refused."""

import csv
import json

import numpy as np
import pytest

from atgnn.bootstrap import mean_average_precision_interval
from atgnn.errors import InputError
from atgnn.figures import score
from atgnn.scores import Scores


def make(keys: str, seed: int = 0, **about: str) -> Scores:
    rng = np.random.default_rng(seed)
    targets = (rng.random((len(keys), 3)) < 0.5).astype(np.uint8)
    targets[:, -1] = 0
    return Scores(list(keys), ["a", "b", "c"], rng.random(targets.shape).astype(np.float32), targets, about)


@pytest.fixture
def files(tmp_path):
    """Scores of two models, and the figures told of them."""
    make("pqrstuvw", protocol="windows").save(tmp_path / "ours.npz")
    make("wvutsrqp", seed=5).save(tmp_path / "theirs.npz")
    score(
        [tmp_path / "ours.npz"],
        [tmp_path / "theirs.npz"],
        names=("atgnn", "probe"),
        title="tones",
        json_file=tmp_path / "out" / "score.json",
        csv_file=tmp_path / "out" / "score.csv",
        bootstrap=50,
    )
    return tmp_path


def test_json_holds_every_figure(files):
    figures = json.loads((files / "out" / "score.json").read_text())
    ours = Scores.load(files / "ours.npz")
    assert figures["clips"] == 8
    assert figures["protocol"] == "first / windows"
    assert figures["without_positive"] == 1
    assert list(figures["mAP"]) == ["chance", "probe", "atgnn"]
    assert figures["mAP"]["atgnn"] == pytest.approx(np.nanmean(ours.average_precision()), abs=1e-4)
    assert figures["mAUC"]["atgnn"] == pytest.approx(np.nanmean(ours.roc_auc()), abs=1e-4)
    assert figures["lwlrap"]["atgnn"] == pytest.approx(ours.lwlrap(), abs=1e-4)
    interval = mean_average_precision_interval(ours.scores, ours.targets, 50)
    assert figures["interval"]["atgnn"] == pytest.approx(interval, abs=1e-4)
    assert figures["resamples"] == 50
    assert figures["labels"]["c"] == {"chance": None, "probe": None, "atgnn": None}


def test_the_table_says_what_the_json_says(files, capsys):
    score([files / "ours.npz"], title="tones", bootstrap=50)
    printed = capsys.readouterr().out
    figures = json.loads((files / "out" / "score.json").read_text())
    for said in ("tones (8 clips, protocol:", "mean (mAP)", "mAUC", "d′", "lwlrap", "without a positive: 1"):
        assert said in " ".join(printed.split())
    for measure in ("mAP", "mAUC", "dprime", "lwlrap"):
        assert f"{figures[measure]['atgnn']:.3f}" in printed
    assert "{:.3f} … {:.3f}".format(*figures["interval"]["atgnn"]) in printed


def test_csv_has_a_row_for_each_label(files):
    rows = list(csv.reader((files / "out" / "score.csv").open()))
    ours = Scores.load(files / "ours.npz")
    assert rows[0] == ["label", "positives", "AP", "AUC"]
    assert [row[0] for row in rows[1:]] == ours.labels
    assert [int(row[1]) for row in rows[1:]] == ours.targets.sum(0).tolist()
    assert float(rows[1][2]) == pytest.approx(ours.average_precision()[0], abs=1e-6)
    assert rows[3][2:] == ["", ""]


def test_without_resamples_there_is_no_interval(files, capsys):
    score([files / "ours.npz"], bootstrap=0)
    assert "interval" not in capsys.readouterr().out


def test_one_clip_has_no_area_under_a_curve(tmp_path, capsys):
    Scores(["p"], ["a", "b"], np.array([[0.9, 0.1]]), np.array([[1, 0]])).save(tmp_path / "one.npz")
    score([tmp_path / "one.npz"], json_file=tmp_path / "one.json")
    figures = json.loads((tmp_path / "one.json").read_text())
    assert figures["mAP"]["model"] == 1
    assert figures["mAUC"]["model"] is None
    assert figures["dprime"]["model"] is None
    assert "–" in capsys.readouterr().out


def test_models_scored_on_different_clips(tmp_path):
    make("pq").save(tmp_path / "ours.npz")
    make("rs").save(tmp_path / "theirs.npz")
    with pytest.raises(InputError, match="same clips"):
        score([tmp_path / "ours.npz"], [tmp_path / "theirs.npz"])


def test_nothing_to_score(tmp_path):
    Scores(["p"], ["a"], np.array([[0.9]]), np.array([[0]])).save(tmp_path / "none.npz")
    with pytest.raises(InputError, match="expected a clip with a label, got none of 1"):
        score([tmp_path / "none.npz"])
