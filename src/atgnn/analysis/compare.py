"""`atgnn compare`: runs over seeds and clips, side by side, with intervals and tests of their differences."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from scipy import stats

from atgnn.analysis.runs import Run, read_runs, t_reach
from atgnn.bootstrap import resampled_mean_average_precision
from atgnn.errors import InputError
from atgnn.pages import markdown, replace_between

HEADER = ("data", "setting", "seeds", "mAP", "Δ", "over seeds", "over clips", "p", "parameters", "minutes")


@dataclass(frozen=True)
class Row:
    """Runs of one setting on one data set, compared with the setting of the reference.

    Args:
        data: name of the data set.
        setting: what is varied.
        seeds: number of runs.
        mean_ap: mAP of each run.
        reach: half the width of the 95 % interval of their mean over seeds; NaN for one run.
        difference: mean mAP minus the reference's, over the seeds that both have; NaN for the reference.
        over_seeds: 95 % interval of the difference by a paired t-test over seeds.
        over_clips: 95 % interval of the difference by a paired bootstrap over clips.
        p: probability of such a difference by chance, the larger of the two over seeds and over clips, corrected for
            the number of comparisons by Holm's method.
        parameters: trainable, of a network.
        minutes: of training, on the average.
    """

    data: str
    setting: str
    seeds: int
    mean_ap: list[float]
    reach: float
    difference: float
    over_seeds: tuple[float, float]
    over_clips: tuple[float, float]
    p: float
    parameters: int
    minutes: float

    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of the header."""
        mean = f"{np.mean(self.mean_ap):.3f}" + ("" if np.isnan(self.reach) else f" ± {self.reach:.3f}")
        reference = np.isnan(self.difference)
        return (
            self.data,
            self.setting,
            str(self.seeds),
            mean,
            "–" if reference else f"{self.difference:+.3f}",
            _interval(self.over_seeds),
            _interval(self.over_clips),
            "–" if np.isnan(self.p) else "< 0.001" if self.p < 0.001 else f"{self.p:.3f}",
            f"{self.parameters / 1e6:.2f} M",
            f"{self.minutes:.1f}",
        )


def compare(
    runs: list[Path],
    *,
    reference: str | None = None,
    json_file: Path | None = None,
    page: Path | None = None,
    marker: str = "comparison",
    plot: Path | None = None,
    resamples: int = 1000,
) -> None:
    """Compare runs on the same clips: means over seeds, and how sure their differences from one of them are.

    Runs that differ only in their seed are one setting; settings are compared on each data set with the reference. A
    difference counts as found where it holds over seeds (paired t-test) and over clips (paired bootstrap) alike.

    Args:
        runs: files of scores, or folders of them, as `atgnn sweep` writes them.
        reference: setting to compare with, as the table names it; the first by default.
        json_file: write the table there too.
        page: Markdown page to write the table into, between the lines <!-- MARKER --> and <!-- /MARKER -->.
        marker: name of these lines.
        plot: picture to draw, every seed a point.
        resamples: how often the clips are drawn anew.

    Raises:
        InputError: if a file is none of scores, runs of one data set have other clips, or no run has the reference.
    """
    rows = compare_runs(read_runs(runs), reference, resamples)
    for data in dict.fromkeys(row.data for row in rows):
        title = f"{data}: mean ± 95 % interval over seeds; Δ from the first line's".lstrip(": ")
        Console().print(_table([row for row in rows if row.data == data], HEADER[1:8], title))
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        plain = [{name: _plain(value) for name, value in asdict(row).items()} for row in rows]
        json_file.write_text(json.dumps(plain, indent=1) + "\n")
    if page is not None:
        replace_between(page, marker, markdown(_table(rows)))
    if plot is not None:
        draw(rows, plot)


def compare_runs(runs: Sequence[Run], reference: str | None = None, resamples: int = 1000) -> list[Row]:
    """One row for each data set and setting, the reference of each data set first.

    Raises:
        InputError: if runs of one data set have other clips, or no run has the reference.
    """
    rows = []
    for data in dict.fromkeys(run.data for run in runs):
        own = [run for run in runs if run.data == data]
        for run in own:
            if run.scores.keys != own[0].scores.keys or run.scores.labels != own[0].scores.labels:
                raise InputError(
                    f"expected the runs of {data or 'a data set'} on the same clips and labels, got others in "
                    f"{run.settings}; test them on one split"
                )
        groups: dict[str, list[Run]] = defaultdict(list)
        for run in own:
            groups[run.settings].append(run)
        first = reference or own[0].settings
        if first not in groups:
            raise InputError(
                f"expected the reference to be one of {'; '.join(groups)}, got {first!r}; name one of these"
            )
        resampled = {
            name: np.stack(
                [resampled_mean_average_precision(run.scores.scores, run.scores.targets, resamples) for run in group]
            )
            for name, group in groups.items()
        }
        for name in sorted(groups, key=lambda name: name != first):
            rows.append(_row(data, name, groups[name], resampled[name], groups[first], resampled[first]))
    return _holm(rows)


def _row(data: str, name: str, runs: list[Run], found: np.ndarray, others: list[Run], base: np.ndarray) -> Row:
    values = found[:, 0]
    reach = t_reach(values)
    difference, over_seeds, over_clips, p = np.nan, (np.nan, np.nan), (np.nan, np.nan), np.nan
    pairs = [(i, j) for i, run in enumerate(runs) for j, other in enumerate(others) if run.seed == other.seed]
    if others is not runs and pairs:
        differences = np.stack([found[i] - base[j] for i, j in pairs])
        by_seed, (difference, *by_clips) = differences[:, 0], differences.mean(0)
        deviation = np.std(by_clips, ddof=1)
        over_clips = (difference - 1.96 * deviation, difference + 1.96 * deviation)
        p = 2 * stats.norm.sf(abs(difference) / max(deviation, 1e-12))
        if len(by_seed) > 1:
            over_seeds = (difference - t_reach(by_seed), difference + t_reach(by_seed))
            spread = max(np.std(by_seed, ddof=1), 1e-12) / len(by_seed) ** 0.5
            p = max(p, 2 * stats.t.sf(abs(difference) / spread, len(by_seed) - 1))
    about = [run.scores.about for run in runs]
    minutes = float(np.mean([one.get("seconds", np.nan) for one in about])) / 60
    parameters = int(about[0].get("parameters", 0))
    return Row(
        data,
        name,
        len(runs),
        values.tolist(),
        reach,
        float(difference),
        over_seeds=(float(over_seeds[0]), float(over_seeds[1])),
        over_clips=(float(over_clips[0]), float(over_clips[1])),
        p=float(p),
        parameters=parameters,
        minutes=minutes,
    )


def _holm(rows: list[Row]) -> list[Row]:
    """Correct the p of all comparisons together: the smallest counts as often as there are comparisons, and so on.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    tested = sorted((row for row in rows if not np.isnan(row.p)), key=lambda row: row.p)
    factors = range(len(tested), 0, -1)
    corrected = np.maximum.accumulate([min(1.0, row.p * n) for row, n in zip(tested, factors, strict=True)])
    by_row = {id(row): float(p) for row, p in zip(tested, corrected, strict=True)}
    return [Row(**{**asdict(row), "p": by_row.get(id(row), row.p)}) for row in rows]


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw every run as a point, and the mean of its setting with its interval; a panel for each data set."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row.data for row in rows))
    most = max(sum(row.data == name for row in rows) for name in names)
    figure = Figure(figsize=(8, 1.2 + 0.42 * most * len(names)), layout="constrained")
    for axes, name in zip(figure.subplots(len(names), 1, squeeze=False)[:, 0], names, strict=True):
        own = [row for row in rows if row.data == name]
        for place, row in enumerate(own):
            axes.plot(row.mean_ap, [place] * row.seeds, "o", color="0.65", markersize=4)
            axes.errorbar(np.mean(row.mean_ap), place, xerr=row.reach, fmt="D", color="#0072B2", capsize=3)
        axes.set_yticks(range(len(own)), [row.setting for row in own])
        axes.set_ylim(len(own) - 0.5, -0.5)
        axes.set_title(name, loc="left")
        axes.grid(axis="x", color="0.9")
    axes.set_xlabel("mAP; points are seeds, diamonds their mean with a 95 % interval")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def _table(rows: Iterable[Row], columns: Sequence[str] = HEADER, title: str = "") -> Table:
    table = Table(title=title, box=box.SIMPLE)
    for name in columns:
        justify: Literal["left", "right"] = "left" if name in ("data", "setting") else "right"
        table.add_column(name, justify=justify, no_wrap=name in ("mAP", "Δ", "p"))
    for row in rows:
        cells = dict(zip(HEADER, row.cells(), strict=True))
        table.add_row(*(cells[name] for name in columns))
    return table


def _interval(ends: tuple[float, float]) -> str:
    return "–" if np.isnan(ends[0]) else f"[{ends[0]:+.3f}, {ends[1]:+.3f}]"


def _plain(value: object) -> object:
    """JSON knows no NaN."""
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return None if np.isnan(value) else round(value, 5)
    return value
