"""What tells runs apart, and how it is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from atgnn.analysis.runs import _in_order, read_runs, said, t_reach, telling
from atgnn.scores import Scores

RUNS = [
    {"seed_everything": 0, "model": "atgnn.ATGNN"},
    {"seed_everything": 0, "model": "atgnn.ATGNN", "model.pooling": "mean_max"},
    {"seed_everything": 1, "model": "a.AST", "model.layers": 4, "model.heads": 4},
    {"seed_everything": 1, "model": "a.CNN", "model.name": "vgg", "model.options": {"widths": [20]}},
    {"seed_everything": 1, "model": "a.CNN", "model.name": "b0", "model.options": {"multiplier": 0.33}},
]


def test_only_what_tells_more_apart_is_said() -> None:
    keys = telling(RUNS, besides=["seed_everything"])
    assert keys == ["model", "model.pooling", "model.name"]
    assert [said(run, keys) for run in RUNS] == [
        "model = ATGNN", "model = ATGNN, pooling = mean_max", "model = AST", "model = CNN, name = vgg",
        "model = CNN, name = b0",
    ]  # fmt: skip
    assert telling(RUNS[:1]) == []
    assert telling(RUNS) == ["seed_everything", "model", "model.pooling", "model.name"]


def test_a_run_without_the_settings_of_the_others_says_all_it_has(tmp_path: Path) -> None:
    for name, setting in (("one", {"k": 3}), ("two", {"k": 9}), ("three", {"model": "a.CNN"}), ("four", {})):
        scores = Scores(
            [name], ["a"], np.zeros((1, 1)), np.zeros((1, 1)), {"settings": {"seed_everything": 0} | setting}
        )
        scores.save(tmp_path / f"{name}.npz")
    runs = read_runs([tmp_path / f"{name}.npz" for name in ("one", "two", "three", "four")])
    assert [run.settings for run in runs] == ["k = 3", "k = 9", "model = CNN", "four"]


def test_classes_are_said_with_their_arguments() -> None:
    graph = {"class_path": "atgnn.nn.KNNGraph", "init_args": {"k": 9, "position": False}}
    assert said({"model.graph": graph, "model.k": 3}, ["model.graph", "model.k", "model.depth"]) == (
        "graph = KNNGraph(k=9, position=false), k = 3"
    )


def test_names_are_in_the_order_of_their_numbers() -> None:
    names = ["k=1_lr=0.0005_seed0", "k=1_lr=0.004_seed0", "k=9_lr=0.0005_seed1", "k=15_lr=0.0005_seed0", "x"]
    paths = [Path(f"{name}.npz") for name in names]
    assert sorted(paths[3:] + paths[:3], key=_in_order) == paths


def test_the_interval_of_a_mean() -> None:
    values = np.array([0.3, 0.5, 0.4, 0.8])
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    assert t_reach(values) == pytest.approx((high - low) / 2)
    assert np.isnan(t_reach(values[:1]))
