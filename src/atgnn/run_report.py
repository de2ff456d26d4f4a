"""`atgnn report`: a run on one page, from the files that it left."""

from __future__ import annotations

import base64
import csv
import io
import math
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader
from matplotlib.figure import Figure

from atgnn.errors import InputError
from atgnn.scores import Scores

#: Curves that share a plot, and what tells them apart without colour.
CURVES = {"loss": ("train/loss", "val/loss"), "mAP": ("val/mAP",), "learning rate": ("lr-Adam",)}
STYLES = (("#0072B2", "-"), ("#D55E00", "--"))


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
    metrics = _read(run / "metrics.csv")
    validated = [(float(row["val/mAP"]), int(row["step"]), int(row["epoch"])) for row in metrics if row.get("val/mAP")]
    facts = []
    if validated:
        best, step, epoch = max(validated)
        facts.append(f"best val/mAP {best:.3f}, in epoch {epoch} at step {step} of {validated[-1][1]}")
    tests = {}
    for path in sorted(run.glob("checkpoints/scores*.npz")):
        scores = Scores.load(path)
        found = scores.average_precision()
        rows = zip(scores.labels, scores.targets.sum(0).tolist(), found.tolist(), strict=True)
        tests[path.name] = sorted(rows, key=lambda row: -row[2] if math.isfinite(row[2]) else 1)
        facts.append(f"{path.name}: test mAP {np.nanmean(found):.3f} over {len(scores.keys)} clips")
        if {"parameters", "seconds", "steps"} <= scores.about.keys():
            minutes, size = scores.about["seconds"] / 60, scores.about["parameters"] / 1e6
            facts.append(f"{size:.2f} M parameters, trained for {scores.about['steps']} steps in {minutes:.1f} min")
    picture, config = run / "spectrogram.png", run / "config.yaml"
    page = Environment(loader=PackageLoader("atgnn", "."), autoescape=True).get_template("run_report.html")
    html = page.render(
        name=run.resolve().name,
        facts=facts,
        curves=draw_curves(metrics),
        labels=[(row["label"], int(row["clips"]), float(row["AP"])) for row in _read(run / "labels.csv")],
        confusions=_read(run / "confusions.csv")[:15],
        spectrogram=base64.b64encode(picture.read_bytes()).decode() if picture.is_file() else None,
        tests=tests,
        config=config.read_text(encoding="utf-8") if config.is_file() else "",
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(html, encoding="utf-8")
    return f"wrote {out}"


def draw_curves(metrics: list[dict[str, str]]) -> str:
    """Learning curves as an SVG, by optimiser step."""
    figure = Figure(figsize=(10, 3), layout="constrained")
    for ax, (title, names) in zip(figure.subplots(1, len(CURVES)), CURVES.items(), strict=True):
        for name, (color, line) in zip(names, STYLES, strict=False):
            points = [(int(row["step"]), float(row[name])) for row in metrics if row.get(name)]
            if points:
                marker = "." if len(points) < 30 else None
                ax.plot(*zip(*points, strict=True), line, color=color, marker=marker, label=name)
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
