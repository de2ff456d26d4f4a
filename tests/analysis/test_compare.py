"""Runs compared: means and intervals over seeds, differences paired by seed and by clip, p corrected."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score

from atgnn.analysis.compare import Row, _holm, compare, compare_runs
from atgnn.analysis.runs import read_runs
from atgnn.errors import InputError
from atgnn.scores import Scores

SEEDS = 5


def save(
    folder: Path, help_by: float, noise_seed: int, bounded: bool, config: str = "scenes", clips: int = 120
) -> None:
    """One run whose scores help by so much; the targets of a data set are the same in all its runs."""
    targets = (np.random.default_rng(len(config)).random((clips, 4)) < 0.3).astype(np.uint8)
    rng = np.random.default_rng([noise_seed, bounded])
    scores = rng.standard_normal(targets.shape) + help_by * targets
    keys = [f"clip{n}" for n in range(clips)]
    order = rng.permutation(clips)  # runs need not list their clips alike
    settings = {"seed_everything": noise_seed, "config": f"experiments/small/{config}.yaml", "model.bounded": bounded}
    about = {"settings": settings, "parameters": 1000, "seconds": 60.0, "scale": "logits"}
    run = Scores([keys[i] for i in order], list("abcd"), scores[order], targets[order], about)
    run.save(folder / f"{config}-{bounded}-{noise_seed}.npz")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for config in ("scenes", "clips"):
        for seed in range(SEEDS):
            save(tmp_path, 1.0, seed, True, config)
            save(tmp_path, 1.0 if config == "scenes" else 2.0, seed, False, config)
    return tmp_path


def mean_average_precision(run: Scores) -> float:
    return float(np.mean([average_precision_score(t, s) for s, t in zip(run.scores.T, run.targets.T, strict=True)]))


def test_means_and_intervals_are_those_of_scipy_and_scikit_learn(runs: Path) -> None:
    rows = {(row.data, row.setting): row for row in compare_runs(read_runs([runs]), "bounded = true", 50)}
    for config in ("scenes", "clips"):
        values = {
            bounded: np.array(
                [mean_average_precision(Scores.load(runs / f"{config}-{bounded}-{n}.npz")) for n in range(SEEDS)]
            )
            for bounded in (True, False)
        }
        row = rows[config, "bounded = false"]
        np.testing.assert_allclose(row.mean_ap, values[False], atol=1e-6)
        low, high = stats.t.interval(0.95, SEEDS - 1, values[False].mean(), stats.sem(values[False]))
        assert row.reach == pytest.approx((high - low) / 2)
        test = stats.ttest_rel(values[False], values[True])
        assert row.over_seeds == pytest.approx(tuple(test.confidence_interval()))
        assert row.difference == pytest.approx((values[False] - values[True]).mean())
        assert (row.parameters, row.minutes, row.seeds) == (1000, 1.0, SEEDS)
    assert rows["clips", "bounded = false"].p < 0.01, "twice the signal is found"
    assert rows["scenes", "bounded = false"].p > 0.05, "no difference is not"
    assert np.isnan(rows["scenes", "bounded = true"].difference), "the reference is compared with nothing"


def test_holm_multiplies_by_the_comparisons_that_are_left() -> None:
    def row(p: float) -> Row:
        return Row("", "", 1, [0.5], np.nan, 0.1, (0.0, 0.2), (0.0, 0.2), p, 1, 1.0)

    found = [row.p for row in _holm([row(0.03), row(np.nan), row(0.01), row(0.02)])]
    np.testing.assert_allclose(found, [0.04, np.nan, 0.03, 0.04])


def test_a_single_run_of_each_has_no_interval_over_seeds(tmp_path: Path) -> None:
    save(tmp_path, 1.0, 0, True)
    save(tmp_path, 3.0, 0, False)
    first, second = compare_runs(read_runs([tmp_path]), "bounded = true", 50)
    assert np.isnan(first.reach)
    assert np.isnan(second.over_seeds[0])
    assert second.over_clips[0] > 0, "over clips there is one"


def test_the_command_writes_table_page_and_plot(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    page, out = tmp_path / "page.md", tmp_path / "out"
    page.write_text("# Question\n<!-- comparison -->\n<!-- /comparison -->\nVerdict.\n")
    compare([runs], json_file=out / "rows.json", page=page, plot=out / "plot.png", resamples=20)
    assert "bounded = true" in capsys.readouterr().out
    rows = json.loads((out / "rows.json").read_text())
    assert len(rows) == 4
    assert rows[0]["difference"] is None
    lines = page.read_text().splitlines()
    assert lines[-1] == "Verdict."
    assert sum("bounded = false" in line for line in lines) == 2
    assert (out / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_compared(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected the reference to be one of bounded = true; bounded = false"):
        compare_runs(read_runs([runs / "clips-True-0.npz", runs / "clips-False-0.npz"]), "bounded = maybe")
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="expected files of scores in"):
        read_runs([tmp_path / "out"])
    save(runs, 1.0, 9, True, "clips", clips=90)
    with pytest.raises(InputError, match="expected the runs of clips on the same clips"):
        compare_runs(read_runs([runs]))
