"""A W&B sweep file, run here: which commands it makes, that none is repeated, and what a failing one leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from atgnn import sweep as module
from atgnn.errors import InputError
from atgnn.sweep import expand, progress, sweep

PARAMETERS: dict[str, Any] = {
    "seed_everything": {"values": [0, 1]},
    "config": {"values": ["experiments/small/scenes.yaml"]},
    "model.k": {"values": [3, 9]},
    "model.conv": {"values": [None, {"class_path": "atgnn.nn.EdgeConv"}]},
}
COMMAND = ["${env}", "atgnn", "fit", "-c", "experiments/base.yaml", "${args}"]


def write(folder: Path, **changes: Any) -> Path:
    content = {"method": "grid", "parameters": PARAMETERS, "command": COMMAND} | changes
    file = folder / "k" / "sweep.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def test_a_grid_is_every_combination(tmp_path: Path) -> None:
    runs = expand(write(tmp_path))
    assert len(runs) == len({run.scores for run in runs}) == 8
    first = runs[0]
    assert first.args[:4] == ["fit", "-c", "experiments/base.yaml", "--seed_everything=0"]
    assert "--config=experiments/small/scenes.yaml" in first.args
    assert "--model.k=3" in first.args
    assert "--model.conv=null" in first.args
    assert first.scores == tmp_path / "k" / "runs" / "scenes_k=3_conv=null_seed0.npz"
    settings = next(arg for arg in first.args if arg.startswith("--settings="))
    assert json.loads(settings.removeprefix("--settings=")) == first.settings


def test_a_random_sweep_draws_as_many_as_its_cap_within_bounds(tmp_path: Path) -> None:
    parameters = {
        "model.k": {"min": 2, "max": 20},
        "model.lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
        "model.drop_path": {"min": 0.0, "max": 0.3},
        "model.depth": {"values": [4, 8]},
    }
    for method in ("random", "bayes"):
        runs = expand(write(tmp_path, method=method, parameters=parameters, run_cap=30))
        assert len(runs) == 30
        drawn = [run.settings for run in runs]
        assert {type(one["model.k"]) for one in drawn} == {int}
        assert {one["model.depth"] for one in drawn} == {4, 8}
        assert all(2 <= one["model.k"] <= 20 and 1e-4 <= one["model.lr"] <= 1e-2 for one in drawn)
        assert drawn == [
            run.settings for run in expand(write(tmp_path, method=method, parameters=parameters, run_cap=30))
        ]


def test_fast_runs_one_seed_of_each_into_a_folder_of_its_own(tmp_path: Path) -> None:
    runs = expand(write(tmp_path), fast=True)
    assert len(runs) == 4
    assert all(run.settings["seed_everything"] == 0 for run in runs)
    assert all(run.scores.is_relative_to("runs/fast") for run in runs)
    assert all("--trainer.limit_train_batches=2" in run.args for run in runs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": None}, "expected a W&B sweep file"),
        ({"method": "grid", "parameters": {"model.k": {"min": 1, "max": 3}}}, "expected values for model.k in a grid"),
        (
            {"parameters": {"model.k": {"distribution": "normal", "mu": 1}}, "method": "random"},
            "expected values, or min and max, for model.k",
        ),
        ({"command": ["python", "train.py"]}, "expected a command of atgnn"),
    ],
)
def test_a_file_that_is_no_sweep(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        expand(write(tmp_path, **changes))


def test_finished_runs_are_not_repeated_and_a_failed_one_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran: list[Path] = []

    def run(one: module.Run) -> str | None:
        ran.append(one.scores)
        if "k=9" in one.scores.name:
            return "k=9: see log"
        one.scores.parent.mkdir(parents=True, exist_ok=True)
        one.scores.touch()
        return None

    monkeypatch.setattr(module, "_run", run)
    monkeypatch.setattr(module, "in_parallel", lambda function, items, *_, **__: [run(item) for item in items])
    file = write(tmp_path)
    with pytest.raises(InputError, match="expected 8 runs to finish, got 4 that failed: k=9: see log"):
        sweep([file])
    assert len(ran) == 8
    ran.clear()
    with pytest.raises(InputError, match="expected 4 runs to finish"):
        sweep([file])
    assert all("k=9" in path.name for path in ran)


def test_a_command_that_fails_says_where_its_log_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = module.Run({}, ["fit", "--model.no_such_option=1"], tmp_path / "x.npz", tmp_path / "x" / "log.txt")
    said = one()
    assert said is not None
    assert "log.txt" in said
    assert "no_such_option" in (tmp_path / "x" / "log.txt").read_text()


def test_a_page_says_which_runs_are_missing(tmp_path: Path) -> None:
    file, page = write(tmp_path), tmp_path / "page.md"
    page.write_text("<!-- runs -->\n<!-- /runs -->\n")
    runs = [run.scores for run in expand(file)]
    runs[0].parent.mkdir()
    for run in runs[:-1]:
        run.touch()
    expected = f"7 of 8 runs are there, so that what follows is not final. Missing: `{runs[-1].stem}`."
    assert progress([file], page=page) == expected
    assert page.read_text().splitlines()[1] == expected
    runs[-1].touch()
    assert progress([file]) == "All 8 runs are there."
