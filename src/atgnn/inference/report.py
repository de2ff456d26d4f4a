"""`atgnn tag`: the tags of recordings, or a time line of them, in a format, and as a picture."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from atgnn.audio.files import AudioFile, audio_info, read_blocks
from atgnn.checkpoint import load_tagger
from atgnn.errors import InputError
from atgnn.inference.files import hear
from atgnn.inference.formats import Format, Found, check_format, write_tags
from atgnn.inference.sources import find_recordings
from atgnn.inference.timeline import timeline as find_timeline
from atgnn.module import ATGNN


def tag(
    files: list[str],
    *,
    checkpoint: Path | None = None,
    top: int = 5,
    threshold: float | None = None,
    timeline: bool = False,
    format: Format = "table",
    out: Path | None = None,
    picture: Path | None = None,
    batch_size: int | None = None,
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
    device: str = "cpu",
) -> None:
    """Say which sounds are in recordings, and with --timeline, when.

    Recordings longer than the clips the model was trained on are heard through half-overlapping windows of that length,
    and a label's score is its largest over the windows. Memory does not grow with their length. A recording that cannot
    be read is named at the end; the others are tagged all the same.

    Args:
        files: sound files, folders (searched through), patterns like 'rec/**/*.wav', shards (.tar, also at http(s)
            addresses), or - for standard input; any format that libsndfile reads, any sample rate and channels.
        checkpoint: the model, as written by `atgnn fit`; the small bundled one where none is given.
        top: how many labels to show for each recording.
        threshold: leave tags with a lower score (0 to 1) out; 0 where none is given, 0.5 for a time line.
        timeline: show from when to when each label is heard.
        format: table for reading; json, csv or parquet for other programs; audacity for a label track, rttm for
            diarisation tools (both are time lines).
        out: write there instead of to standard output.
        picture: write a picture of the first recording's log-mel spectrogram and tags there.
        batch_size: windows at a time, on a CPU on each core; as many as make up ten seconds where none is given.
        precision: bf16-mixed is sooner on processors that calculate in it, and moves scores by hundredths.
        device: where the model runs: cpu, cuda, …
    """
    timeline = timeline or format in ("audacity", "rttm")
    threshold = (0.5 if timeline else 0.0) if threshold is None else threshold
    if top < 1 or (batch_size is not None and batch_size < 1) or not 0 <= threshold <= 1:
        raise InputError(
            f"expected --top and --batch-size of at least 1 and --threshold in 0 … 1, got {top}, {batch_size} and "
            f"{threshold}; correct them"
        )
    if format == "parquet" and out is None and sys.stdout.isatty():
        raise InputError("expected --out FILE for Parquet, which is binary, got none; name a file")
    check_format(format)
    for path in (out, picture):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("a").close()  # a path that cannot be written to is found out before hours are heard
    model = load_tagger(checkpoint)
    err = Console(stderr=True)
    if checkpoint is None:
        err.print(
            f"No --checkpoint: using the bundled network, trained on short studio sounds (data/mini). "
            f"It knows only: {'; '.join(model.labels)}.",
            style="dim",
            highlight=False,
        )
    if isinstance(model, ATGNN):
        model.tagger.network = model.network.fuse(torch.float32 if precision == "32-true" else torch.bfloat16)
    elif precision != "32-true":
        raise InputError(f"expected an ATGNN for {precision}, got {type(model).__name__}; leave --precision out")
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:  # the latter where torch is built without CUDA
        reason = str(error).splitlines()[0]
        raise InputError(f"expected a device that is here, got {device} ({reason}); leave --device out") from error
    found: Found = {}
    failed: list[str] = []
    columns = TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=err, transient=True) as progress:
        recordings = _watched(find_recordings(list(map(str, files))), model.tagger.frontend.sample_rate, progress)
        try:
            for hearing in hear(model, recordings, batch_size):
                if hearing.error is not None:
                    failed.append(str(hearing.error))
                    continue
                tags = hearing.tags(model)[:top]
                if timeline:
                    labels = {tag.label for tag in tags}
                    tags = [tag for tag in find_timeline(model, hearing, threshold) if tag.label in labels]
                found[hearing.name] = [tag for tag in tags if tag.score >= threshold]
        except torch.OutOfMemoryError as error:
            raise InputError("expected room for a batch of windows, got none; lower --batch-size") from error
    if not found and failed:
        raise InputError("no recording tagged: " + "; ".join(failed))
    if out is None:
        write_tags(found, format, sys.stdout)
    else:
        with out.open("w", encoding="utf-8", newline="") as file:
            write_tags(found, format, file)
    if picture is not None and found:
        from atgnn.inference.picture import draw_tags

        draw_tags(model, next(iter(found)), picture)
    for path in (out, picture):
        if path is not None and found:
            err.print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)
    if failed:
        raise InputError(f"{len(failed)} of {len(found) + len(failed)} recordings not tagged: " + "; ".join(failed))


def _watched(
    recordings: Iterator[tuple[str, AudioFile]], rate: int, progress: Progress
) -> Iterator[tuple[str, Iterator[Tensor]]]:
    task = progress.add_task("tagging", total=None)
    for number, (name, file) in enumerate(recordings, start=1):
        progress.update(task, description=f"{number}: {name[-50:]}")
        yield name, _blocks(name, file, rate, progress, task)


def _blocks(name: str, file: AudioFile, rate: int, progress: Progress, task: int) -> Iterator[Tensor]:
    total = audio_info(file).duration if isinstance(file, Path) else None
    progress.reset(task, total=total)  # type: ignore[arg-type]
    for block in read_blocks(file, rate, name=name):
        yield block
        progress.advance(task, len(block) / rate)  # type: ignore[arg-type]
