"""`atgnn tag`: the tags of files as a table, JSON or CSV, and as a picture."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from atgnn.checkpoint import load_model
from atgnn.errors import InputError
from atgnn.inference.files import Tag, tag_file


def tag(
    files: list[Path],
    *,
    checkpoint: Path | None = None,
    top: int = 5,
    threshold: float = 0.0,
    format: Literal["table", "json", "csv"] = "table",
    picture: Path | None = None,
) -> None:
    """Say which sounds are in recordings.

    Recordings longer than the clips the model was trained on are cut into half-overlapping windows, and a label's score
    is its largest over the windows. A file that cannot be read is named at the end; the others are tagged all the same.

    Args:
        files: recordings in any format, sample rate, number of channels and length.
        checkpoint: the model, as written by `atgnn fit`; the small bundled one where none is given.
        top: how many tags to show for each file.
        threshold: leave tags with a lower score (0 to 1) out.
        format: table for reading, json or csv for other programs.
        picture: write a picture of the first file's log-mel spectrogram and tags there.
    """
    if top < 1 or not 0 <= threshold <= 1:
        raise InputError(f"expected --top of at least 1 and --threshold in 0 … 1, got {top} and {threshold}")
    model = load_model(checkpoint)
    err = Console(stderr=True)
    if checkpoint is None:
        err.print(
            f"No --checkpoint: using the bundled network, trained on short studio sounds (data/mini). "
            f"It knows only: {'; '.join(model.labels)}.",
            style="dim",
            highlight=False,
        )
    found: dict[str, list[Tag]] = {}
    failed: list[str] = []
    with Progress(console=err, transient=True) as progress:
        for path in progress.track(files, description="tagging"):
            try:
                tags = tag_file(model, path)
            except InputError as error:
                failed.append(str(error))
                continue
            found[str(path)] = [t for t in tags[:top] if t.score >= threshold]
    _write(found, format)
    if picture is not None and found:
        from atgnn.inference.picture import draw_tags

        draw_tags(model, next(iter(found)), picture)
    if failed:
        raise InputError(f"{len(failed)} of {len(files)} files not tagged: " + "; ".join(failed))


def _write(found: dict[str, list[Tag]], format: str) -> None:
    if format == "json":
        json.dump({path: [t._asdict() for t in tags] for path, tags in found.items()}, sys.stdout, indent=1)
        sys.stdout.write("\n")
    elif format == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(("file", "label", "score"))
        writer.writerows((path, t.label, f"{t.score:.4f}") for path, tags in found.items() for t in tags)
    else:
        table = Table("file", "label", "score")
        for path, tags in found.items():
            for row, t in enumerate(tags):
                table.add_row(
                    "" if row else Path(path).name, t.label, f"{t.score:.3f}", end_section=row + 1 == len(tags)
                )
            if not tags:
                table.add_row(Path(path).name, "(none above the threshold)", "", end_section=True)
        Console().print(table)
