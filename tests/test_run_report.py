"""The page about a run: the best of it first, its curves, its labels, its tests, its settings."""

import csv

import numpy as np
import pytest

from atgnn.errors import InputError
from atgnn.run_report import report
from atgnn.scores import Scores


@pytest.fixture
def run(tmp_path):
    """Files as a run leaves them."""
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    columns = ("epoch", "step", "train/loss", "val/mAP")
    rows = [(0, 9, 0.7, ""), (0, 9, "", 0.25), (1, 19, 0.4, ""), (1, 19, "", 0.75), (2, 29, "", 0.5)]
    for name, lines in {
        "metrics.csv": [columns, *rows],
        "labels.csv": [("label", "clips", "AP"), ("Whoosh, swoosh", 2, 0.5)],
    }.items():
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows(lines)
    (folder / "config.yaml").write_text("seed_everything: 7  # <secret>\n")
    targets = np.array([[1, 0], [0, 1]], dtype=np.uint8)
    about = {"parameters": 2_080_000, "seconds": 90.0, "steps": 30, "scale": "logits"}
    Scores(["a", "b"], ["Dog", "Whoosh, swoosh"], targets - 0.5, targets, about).save(
        folder / "checkpoints" / "scores.npz"
    )
    return folder


def test_the_best_is_told_and_everything_is_there(run):
    assert str(run / "report.html") in report(run)
    page = (run / "report.html").read_text()
    assert "best val/mAP 0.750, in epoch 1 at step 19 of 29" in page
    assert "scores.npz: test mAP 1.000 over 2 clips" in page
    assert "2.08 M parameters, trained for 30 steps in 1.5 min" in page
    assert "Whoosh, swoosh" in page
    assert "seed_everything: 7  # &lt;secret&gt;" in page, "text is text"
    assert 'src="http' not in page


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(InputError, match=r"expected a run with metrics\.csv"):
        report(tmp_path)
