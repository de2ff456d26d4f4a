"""Runs of sweeps: their scores, and what each of them varies."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from atgnn.errors import InputError
from atgnn.scores import Scores


@dataclass(frozen=True)
class Run:
    """The scores of one run.

    Args:
        scores: of every clip, in the order of their keys.
        data: name of its data set, the overlay that chose it.
        settings: what it varies beside data and seed, as text.
        seed: None where it says none.
    """

    scores: Scores
    data: str
    settings: str
    seed: int | None


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Read the scores of runs, from files and folders.

    Raises:
        InputError: if there are none.
    """
    files = [
        file for path in paths for file in (sorted(path.glob("*.npz"), key=_in_order) if path.is_dir() else [path])
    ]
    if not files:
        raise InputError(
            f"expected files of scores in {', '.join(map(str, paths))}, got none; `atgnn sweep` writes them"
        )
    scores = [Scores.load(file) for file in files]
    settings = [dict(one.about.get("settings", {})) for one in scores]
    besides = ("config", "seed_everything")
    varied = telling(settings, besides)
    return [
        Run(
            one.sorted(),
            Path(str(setting.get("config", ""))).stem,
            # Where a run has none of the settings that tell the others apart: all that it has.
            said(setting, varied) or said(setting, [key for key in setting if key not in besides]) or file.stem,
            setting.get("seed_everything", one.about.get("seed")),
        )
        for file, one, setting in zip(files, scores, settings, strict=True)
    ]


def telling(settings: Sequence[Mapping[str, object]], besides: Collection[str] = ()) -> list[str]:
    """Settings that tell runs apart: in their order, those that tell apart what the ones before do not."""
    keys: list[str] = []
    for key in dict.fromkeys(key for one in settings for key in one if key not in besides):
        with_it = {tuple(json.dumps(one.get(name)) for name in (*keys, key)) for one in settings}
        if len(with_it) > len({tuple(json.dumps(one.get(name)) for name in keys) for one in settings}):
            keys.append(key)
    return keys


def said(settings: Mapping[str, object], keys: Sequence[str]) -> str:
    """Some settings as text."""
    return ", ".join(f"{key.rpartition('.')[2]} = {_text(settings[key])}" for key in keys if key in settings)


def t_reach(values: np.ndarray) -> float:
    """Half the width of the 95 % interval of a mean."""
    if len(values) < 2:
        return float("nan")
    return float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)


def _in_order(path: Path) -> list[object]:
    """Names in the order of the numbers in them: k=9 before k=15."""
    parts = re.split(r"(\d+(?:\.\d+)?)", path.stem)
    return [float(part) if number % 2 else part for number, part in enumerate(parts)]


def _text(value: object) -> str:
    if isinstance(value, dict) and "class_path" in value:
        options = (f"{name}={_text(option)}" for name, option in (value.get("init_args") or {}).items())
        return f"{_text(value['class_path'])}({', '.join(options)})"
    return value.rpartition(".")[2] if isinstance(value, str) else json.dumps(value)
