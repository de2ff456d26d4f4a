"""Tags in the formats of people and of other programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, Literal, get_args

from rich.console import Console
from rich.table import Table

from atgnn.errors import InputError
from atgnn.inference.files import Tag

#: A table to read; JSON; CSV; Parquet; a label track for Audacity; NIST's Rich Transcription Time Marked.
Format = Literal["table", "json", "csv", "parquet", "audacity", "rttm"]
Found = dict[str, list[Tag]]


def write_tags(found: Found, format: Format, file: IO[str]) -> None:
    """Write the tags of recordings to an open file.

    Raises:
        InputError: if the format cannot hold them.
    """
    WRITERS[format](found, file)


def check_format(format: Format) -> None:
    """Find out before recordings are heard whether what a format needs is there.

    Raises:
        InputError: if it is not.
    """
    if format == "parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise InputError("expected pyarrow for Parquet, got none; pip install 'atgnn[parquet]'") from error


def _table(found: Found, file: IO[str]) -> None:
    table = Table("file", "label", "score", "start", "end")
    for name, tags in found.items():
        for row, tag in enumerate(tags):
            cells = (tag.label, f"{tag.score:.3f}", _clock(tag.start), _clock(tag.end))
            table.add_row("" if row else Path(name).name, *cells, end_section=row + 1 == len(tags))
        if not tags:
            table.add_row(Path(name).name, "(none above the threshold)", end_section=True)
    Console(file=file).print(table)


def _json(found: Found, file: IO[str]) -> None:
    json.dump({name: [tag._asdict() for tag in tags] for name, tags in found.items()}, file, indent=1)
    file.write("\n")


def _csv(found: Found, file: IO[str]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("file", *Tag._fields))
    for name, tags in found.items():
        writer.writerows((name, t.label, f"{t.score:.4f}", f"{t.start:.3f}", f"{t.end:.3f}") for t in tags)


def _parquet(found: Found, file: IO[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"file": name, **tag._asdict()} for name, tags in found.items() for tag in tags]
    numbers = [(name, pa.float64()) for name in ("score", "start", "end")]
    schema = pa.schema([("file", pa.string()), ("label", pa.string()), *numbers])
    pq.write_table(pa.Table.from_pylist(rows, schema), file.buffer)  # type: ignore[attr-defined]


def _audacity(found: Found, file: IO[str]) -> None:
    if len(found) > 1:
        raise InputError(f"expected one recording for a label track, got {len(found)}; tag them one by one")
    for tags in found.values():
        file.writelines(f"{tag.start:.6f}\t{tag.end:.6f}\t{tag.label} {tag.score:.2f}\n" for tag in tags)


def _rttm(found: Found, file: IO[str]) -> None:
    for name, tags in found.items():
        for tag in tags:
            recording, label = "_".join(Path(name).stem.split()), "_".join(tag.label.split())
            stretch = f"{tag.start:.3f} {tag.end - tag.start:.3f}"
            file.write(f"SPEAKER {recording} 1 {stretch} <NA> <NA> {label} {tag.score:.4f} <NA>\n")


WRITERS: dict[str, Callable[[Found, IO[str]], None]] = dict(
    zip(get_args(Format), (_table, _json, _csv, _parquet, _audacity, _rttm), strict=True)
)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(seconds, 60)
    return f"{int(minutes)}:{seconds:05.2f}"
