"""Results into pages: tables are written from the logged figures, between two markers, and never by hand."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from atgnn.errors import InputError


def write_results(results: list[Path], page: Path, *, name: str = "results") -> None:
    """Write the results of `atgnn score --json-file` into a page, a row for each title; seeds share a row.

    The page says where, with two lines: <!-- NAME --> and <!-- /NAME -->. What stands between them is replaced.

    Args:
        results: JSON files.
        page: Markdown file with the markers.
        name: which markers.
    """
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in results:
        figures = json.loads(path.read_text())
        rows[figures["title"]].append(figures)
    lines = [
        "| data | labels | clips tested (protocol) | chance | linear probe | **atgnn** | parameters | training |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(title, runs) for title, runs in rows.items()),
    ]
    replace_between(page, name, "\n".join(lines))


def _row(title: str, runs: list[dict[str, Any]]) -> str:
    first, about = runs[0], runs[0]["about"]
    chance, *others = zip(*(run["mAP"].values() for run in runs), strict=True)
    cells = [f"{np.mean(chance):.3f}", *(_values(values) for values in others)]
    if len(runs) == 1:  # several seeds show their spread themselves
        ends = first.get("interval", {})
        cells = [cell + _interval(ends.get(name)) for name, cell in zip(first["mAP"], cells, strict=True)]
    cells[-1] = f"**{cells[-1]}**"
    clips = f"{first['clips']} ({first.get('protocol', 'first')})"
    minutes = about["seconds"] / first["runs"] / 60
    budget = f"{about['steps']} steps, {minutes:.1f} min on {about['threads']} core{'s' * (about['threads'] > 1)}"
    if first["runs"] > 1:
        budget += f", for each of {first['runs']} folds"
    parameters = f"{about['parameters'] / 1e6:.2f} M"
    return row([title, len(first["labels"]), clips, *cells, parameters, budget])


def _values(values: tuple[float, ...]) -> str:
    return " / ".join(f"{value:.3f}" for value in values)


def _interval(ends: list[float] | None) -> str:
    return f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else ""


def markdown(table: Table) -> str:
    """A table for the terminal as one of a page."""
    header = [str(column.header) for column in table.columns]
    sides = ["---:" if column.justify == "right" else "---" for column in table.columns]
    cells = zip(*(column.cells for column in table.columns), strict=True)
    return "\n".join(map(row, (header, sides, *cells)))


def row(cells: Iterable[object]) -> str:
    """A line of a table in a page; a bar within a cell is no border."""
    return "| " + " | ".join(str(cell).replace("|", r"\|") for cell in cells) + " |"


def replace_between(page: Path, name: str, text: str) -> None:
    """Put a text between the markers of a page.

    Raises:
        InputError: if the page has no such markers.
    """
    before, after = f"<!-- {name} -->", f"<!-- /{name} -->"
    content = page.read_text()
    if before not in content or after not in content:
        raise InputError(
            f"expected the lines {before} and {after} in {page}, got none; add them where the table belongs"
        )
    pattern = re.compile(re.escape(before) + ".*?" + re.escape(after), re.DOTALL)
    page.write_text(pattern.sub(lambda _: f"{before}\n{text}\n{after}", content))
