"""`atgnn report`: a run on one page, from the files that it left."""

from __future__ import annotations

import base64
import csv
import io
import math
from pathlib import Path

from jinja2 import Environment, PackageLoader
from matplotlib.figure import Figure

from atgnn.errors import InputError
from atgnn.scores import Scores

#: Curves that share a plot.
CURVES = {"loss": ("train/loss", "val/loss"), "mAP": ("val/mAP",), "learning rate": ("lr-Adam",)}


def report(run: Path, *, out: Path | None = None) -> str:
    """Write a page about a run: learning curves, labels, confusions, a clip and its tags, the test, the config.

    Args:
        run: folder of a run with CSVLogger, in which metrics.csv is.
        out: page to write; report.html in the run where none is given.

    Raises:
        InputError: if there is no such run.
    """
    if not (run / "metrics.csv").is_file():
        raise InputError(f"expected a run with metrics.csv at {run}, got none; `atgnn fit` with CSVLogger leaves one")
    out = out or run / "report.html"
    tests = {}
    for path in sorted(run.glob("checkpoints/scores*.npz")):
        scores = Scores.load(path)
        precision = zip(scores.labels, scores.targets.sum(0).tolist(), scores.average_precision().tolist(), strict=True)
        tests[path.name] = sorted(precision, key=lambda row: -row[2] if math.isfinite(row[2]) else 1)
    picture, config = run / "spectrogram.png", run / "config.yaml"
    page = Environment(loader=PackageLoader("atgnn", "."), autoescape=True).get_template("run_report.html")
    html = page.render(
        name=run.resolve().name,
        curves=draw_curves(_read(run / "metrics.csv")),
        labels=_read(run / "labels.csv"),
        confusions=_read(run / "confusions.csv")[:15],
        spectrogram=base64.b64encode(picture.read_bytes()).decode() if picture.is_file() else None,
        tests=tests,
        config=config.read_text() if config.is_file() else "",
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(html, encoding="utf-8")
    return f"wrote {out}"


def draw_curves(metrics: list[dict[str, str]]) -> str:
    """Learning curves as an SVG, by optimiser step."""
    figure = Figure(figsize=(10, 3), layout="constrained")
    for ax, (title, names) in zip(figure.subplots(1, len(CURVES)), CURVES.items(), strict=True):
        for name in names:
            points = [(int(row["step"]), float(row[name])) for row in metrics if row.get(name)]
            if points:
                ax.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else None, label=name)
        ax.set(title=title, xlabel="step", ylim=(0, None))
        if ax.lines:
            ax.legend(frameon=False)
        ax.grid(alpha=0.3)
    file = io.StringIO()
    figure.savefig(file, format="svg")
    return file.getvalue()[file.getvalue().index("<svg") :]


def _read(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
