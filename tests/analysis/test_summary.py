"""What runs measured: found by name, averaged over seeds, written into a page and drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atgnn.analysis.summary import family, measure, summary
from atgnn.errors import InputError
from atgnn.scores import Scores


def save(path: Path, settings: dict[str, Any], values: dict[str, float]) -> None:
    keys, targets = ["free-0", "free-1", "test-0", "test-1"], np.array([[1], [0], [1], [0]])
    about = {"settings": settings, "measures": values, "protocol": "first", "scale": "logits"}
    Scores(keys, ["a"], np.array([[2.0], [1], [1], [2]]), targets, about).save(path)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for seed in (0, 1, 2):
        for k in (3, 9):
            values = {
                "test/mAP": k / 10 + seed / 100,
                "test/energy/01": 1.0,
                "test/energy/02": 1 / k,
                "untrained/nmi": 0.5,
            }
            save(tmp_path / "runs" / f"{k}-{seed}.npz", {"seed_everything": seed, "model.k": k}, values)
    return tmp_path / "runs"


def test_measures_by_name(runs: Path) -> None:
    scores = Scores.load(runs / "3-1.npz")
    assert measure(scores, "mAP") == 0.31
    assert measure(scores, "untrained/nmi") == 0.5
    assert (measure(scores, "mAP:free"), measure(scores, "mAP:test")) == (1, 0.5)
    assert measure(scores, "mAP:test|free") == 0.5
    assert np.isnan(measure(scores, "mAP:test|none"))
    assert np.isnan([measure(scores, name) for name in ("mAP:none", "nothing")]).all()
    assert (measure(scores, "energy/last"), measure(scores, "untrained/nmi")) == (1 / 3, 0.5)
    assert np.isnan(measure(scores, "rank/last"))
    assert family(scores, "energy") == {"01": 1.0, "02": 1 / 3}


def test_a_table_over_seeds_in_a_page(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measures -->\nold\n<!-- /measures -->\nafter\n")
    summary([runs], columns=["mAP", "energy/02"], page=page)
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    # 0.30, 0.31, 0.32: a standard deviation of 0.01, and t(0.975, 2) = 4.30.
    assert lines[4] == "| k = 3 | 3 | 0.310 ± 0.025 | 0.333 |"
    assert lines[5].startswith("| k = 9 | 3 | 0.910 ± 0.025 | 0.111")
    assert "k = 9" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("x", "y"), [(None, ["energy"]), ("model.k", ["mAP", "energy/02"]), ("energy/02", ["mAP"])], ids=str
)
def test_a_picture_of_curves_over_a_setting_and_against_a_measure(
    runs: Path, tmp_path: Path, x: str | None, y: list[str]
) -> None:
    summary([runs], plot=tmp_path / "a" / "plot.png", x=x, y=y)
    assert (tmp_path / "a" / "plot.png").stat().st_size > 5000


def test_a_measure_that_no_run_has(runs: Path) -> None:
    with pytest.raises(
        InputError, match=r"expected runs that measured nmi, got none of 6; there are energy/01, energy/02"
    ):
        summary([runs], columns=["nmi"])
