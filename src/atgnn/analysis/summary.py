"""`atgnn summary`: what runs measured beside their scores, over seeds, as a table and a picture."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter
from rich.console import Console
from rich.table import Table

from atgnn.analysis.quality import rank_correlation
from atgnn.analysis.runs import Run, read_runs, said, t_reach, telling
from atgnn.errors import InputError
from atgnn.pages import markdown, replace_between
from atgnn.scores import Scores

Groups = Mapping[str, list[Run]]


def summary(
    runs: list[Path],
    *,
    columns: list[str] | None = None,
    page: Path | None = None,
    marker: str = "measures",
    plot: Path | None = None,
    x: str | None = None,
    y: list[str] | None = None,
) -> None:
    """Tell what runs measured: mean ± 95 % interval over seeds, a row for each setting, and draw it.

    A measure is called as the run logged it, without "test/": mAP, cost/latency_ms, purity/3, untrained/purity/3, …;
    "mAP:free" is the mAP of the clips whose names begin with "free", "mAP:free|bound" over the labels that both kinds
    have; "energy/last" is the last of the family energy/01, energy/02, …. Runs without a measure leave its cell empty.

    Args:
        runs: files of scores, or folders of them, as `atgnn sweep` writes them.
        columns: measures of the table.
        page: Markdown page to write the table into, between the lines <!-- MARKER --> and <!-- /MARKER -->.
        marker: name of these lines.
        plot: picture to draw, a panel for each of ``y``.
        x: across the picture: a setting in numbers (model.k), or a measure; without it ``y`` are families of measures
            (energy for energy/01, energy/02, …), each drawn as a curve over the last part of their names.
        y: upwards.

    Raises:
        InputError: if there are no runs, or no run has a measure.
    """
    found = read_runs(runs)
    groups: dict[str, list[Run]] = defaultdict(list)
    several = len({run.data for run in found}) > 1
    for run in found:
        groups[f"{run.data}, {run.settings}" if several else run.settings].append(run)
    columns = columns or ["mAP"]
    for name in columns:
        if not any(np.isfinite(measure(run.scores, name)) for run in found):
            raise InputError(f"expected runs that measured {name}, got none of {len(found)}; {_known(found)}")
    table = Table()
    for name in ("setting", "runs", *columns):
        table.add_column(name, justify="left" if name == "setting" else "right")
    for setting, own in groups.items():
        table.add_row(setting, str(len(own)), *(_cell(own, name) for name in columns))
    Console().print(table)
    if page is not None:
        replace_between(page, marker, markdown(table))
    if plot is not None:
        draw(groups, plot, x, y or columns)


def measure(scores: Scores, name: str) -> float:
    """One measure of a run; NaN where it has none."""
    head, _, prefixes = name.partition(":")
    if prefixes:
        parts = [[key.startswith(prefix) for key in scores.keys] for prefix in prefixes.split("|")]
        labels = np.all([scores.targets[part].any(0) for part in parts], axis=0)
        if head != "mAP" or not labels.any():
            return float("nan")
        own = Scores([], [], scores.scores[parts[0]][:, labels], scores.targets[parts[0]][:, labels])
        return float(own.average_precision().mean())
    if name.endswith("/last"):
        return [float("nan"), *family(scores, name.removesuffix("/last")).values()][-1]
    logged = scores.about.get("measures", {})
    return float(logged.get(f"test/{name}", logged.get(name, np.nan)))


def family(scores: Scores, name: str) -> dict[str, float]:
    """Measures called NAME/…, by the last part of their names, in order."""
    logged = {key.removeprefix("test/"): value for key, value in scores.about.get("measures", {}).items()}
    own = {key[len(name) + 1 :]: value for key, value in logged.items() if key.startswith(f"{name}/")}
    return {key: own[key] for key in sorted(own, key=float) if np.isfinite(own[key])}


def draw(groups: Groups, path: Path, x: str | None, y: Sequence[str]) -> None:
    """Draw a panel for each of y: over a setting, against a measure, or as curves."""
    from matplotlib.figure import Figure

    rows, columns = -(-len(y) // 3), min(3, len(y))
    figure = Figure(layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for unused in panels[len(y) :]:
        unused.remove()
    for axes, name in zip(panels, y, strict=False):
        axes.set_prop_cycle(color=colormaps["tab20"].colors)  # type: ignore[attr-defined]
        axes.set_ylabel(name)
        axes.grid(color="0.9")
        if x is None:
            _curves(axes, groups, name)
        elif any(x in settings_of(run) for own in groups.values() for run in own):
            _over_setting(axes, groups, x, name)
        else:
            _against(axes, groups, x, name)
    handles, labels = axes.get_legend_handles_labels()
    legend = len(labels) if len(labels) > 1 else 0
    figure.set_size_inches(1 + 4.2 * columns, 3.2 * rows + 0.2 + 0.18 * -(-legend // min(2, columns)))
    if legend:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(2, columns), fontsize=7, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, bbox_inches="tight")


def settings_of(run: Run) -> dict[str, object]:
    """What a run varies."""
    return dict(run.scores.about.get("settings") or {})


def _curves(axes: Axes, groups: Groups, name: str) -> None:
    for setting, own in groups.items():
        curves = [family(run.scores, name) for run in own]
        if curves := [curve for curve in curves if curve]:
            places = [float(key) for key in curves[0]]
            _line(axes, places, [[curve[key] for curve in curves if key in curve] for key in curves[0]], setting)
            if all(place.is_integer() for place in places):
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("/".join([name.rpartition("/")[2], "…"]))


def _over_setting(axes: Axes, groups: Groups, x: str, name: str) -> None:
    lines: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in (run for runs in groups.values() for run in runs):
        own = {key: value for key, value in settings_of(run).items() if key not in (x, "seed_everything")}
        number, value = settings_of(run).get(x), measure(run.scores, name)
        if isinstance(number, int | float) and np.isfinite(value):
            lines[json.dumps(own | {"config": run.data})][number].append(value)
    others = [json.loads(line) for line in lines]
    varied = telling(others)
    for one, values in zip(others, lines.values(), strict=True):
        _line(axes, sorted(values), [values[number] for number in sorted(values)], said(one, varied))
    axes.set_xlabel(x)
    places = [number for values in lines.values() for number in values]
    if min(places) > 0 and max(places) > 20 * min(places):
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())


def _against(axes: Axes, groups: Groups, x: str, name: str) -> None:
    points = []
    for setting, own in groups.items():
        values = np.array([(measure(run.scores, x), measure(run.scores, name)) for run in own])
        axes.plot(*values.T, "o", label=setting, alpha=0.7)
        points.append(values)
    everything = np.concatenate(points)
    everything = everything[np.isfinite(everything).all(1)]
    axes.set_xlabel(x)
    axes.set_title(f"{len(everything)} runs, rank correlation {rank_correlation(*everything.T):+.2f}", fontsize=9)


def _line(axes: Axes, places: Sequence[float], values: list[list[float]], label: str) -> None:
    (line,) = axes.plot(places, [np.mean(value) for value in values], "o-", label=label, markersize=3)
    for place, value in zip(places, values, strict=True):
        axes.plot([place] * len(value), value, ".", color=line.get_color(), alpha=0.3)


def _cell(runs: list[Run], name: str) -> str:
    values = np.array([measure(run.scores, name) for run in runs])
    values = values[np.isfinite(values)]
    if not len(values):
        return ""
    digits = max(0, min(3, 4 - len(str(int(abs(values.mean()))))))
    reach = f" ± {t_reach(values):,.{digits}f}" if np.ptp(values) else ""
    return f"{values.mean():,.{digits}f}{reach}"


def _known(runs: list[Run]) -> str:
    names = {name.removeprefix("test/") for run in runs for name in run.scores.about.get("measures", {})}
    return f"there are {', '.join(sorted(names)[:40])}"
