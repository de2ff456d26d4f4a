"""Tagging of recordings of any length, rate and number of channels, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from os import PathLike
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from atgnn.audio.files import read_blocks
from atgnn.audio.resample import resample
from atgnn.errors import InputError
from atgnn.tagging import TaggingModule
from atgnn.windows import Windows

#: A path, or a waveform (T,) or, with several channels, (channels, T).
Sound = str | PathLike[str] | Tensor


class Tag(NamedTuple):
    """A label and how probable it is in a recording, 0 … 1, from ``start`` to ``end`` in seconds."""

    label: str
    score: float
    start: float
    end: float


@dataclass
class Hearing:
    """What a model says of one recording.

    Args:
        name: of the recording.
        starts: first sample of every window.
        logits: (S,) of every window.
        samples: length of the recording.
        error: why it could not be read to its end.
    """

    name: str
    starts: list[int] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    samples: int = 0
    error: InputError | None = None

    @property
    def windows(self) -> Windows:
        """Logits of all windows of the recording."""
        return Windows(
            torch.stack(self.logits), torch.zeros(len(self.starts), dtype=torch.long), torch.tensor(self.starts)
        )

    def tags(self, model: TaggingModule) -> list[Tag]:
        """Every label with its score, the largest over the windows; the most probable first."""
        scores = self.windows.pooled()[0].sigmoid().tolist()
        end = self.samples / model.tagger.frontend.sample_rate
        pairs = sorted(zip(scores, model.labels, strict=True), key=lambda pair: -pair[0])
        return [Tag(label, score, 0.0, end) for score, label in pairs]


def hear(
    model: TaggingModule, recordings: Iterable[tuple[str, Iterable[Tensor]]], batch_size: int | None = None
) -> Iterator[Hearing]:
    """Hear recordings through half-overlapping windows of the model's length; windows of several share a batch.

    A window that goes beyond ±1 is scaled down by its peak. A recording that cannot be read has an error instead of
    logits; the others are heard all the same. On a CPU, batches are heard beside each other, one on each of torch's
    threads: they wait for each other less than the threads of one batch do.

    Args:
        model: in eval mode.
        recordings: a name, and the waveform at the model's sample rate as consecutive blocks (t,), of each.
        batch_size: windows at a time; where None, as many as make up ten seconds: more take memory, and no less time.
    """
    batch_size = batch_size or max(1, round(10 / model.clip_seconds))
    size = round(model.clip_seconds * model.tagger.frontend.sample_rate)

    @torch.inference_mode()
    def score(batch: Batch) -> Tensor:
        if not batch.windows:
            return torch.empty(0)
        lengths = torch.tensor([len(window) for _, window in batch.windows])
        waveform = torch.stack([F.pad(window, (0, size - len(window))) for _, window in batch.windows])
        waveform = waveform / waveform.abs().amax(1, keepdim=True).clamp(min=1.0)
        return model.score(waveform.to(model.device), lengths.to(model.device)).float().cpu()

    for batch, logits in _side_by_side(score, _batches(recordings, size, batch_size), model.device):
        for (hearing, _), row in zip(batch.windows, logits, strict=True):
            hearing.logits.append(row)
        yield from batch.ended


class Batch(NamedTuple):
    """Windows of recordings, and the recordings that have no window after these."""

    windows: list[tuple[Hearing, Tensor]]
    ended: list[Hearing]


def _batches(recordings: Iterable[tuple[str, Iterable[Tensor]]], size: int, batch_size: int) -> Iterator[Batch]:
    batch = Batch([], [])
    for name, blocks in recordings:
        hearing = Hearing(name)
        try:
            for start, window in cut_windows(blocks, size):
                hearing.starts.append(start)
                hearing.samples = start + len(window)
                batch.windows.append((hearing, window))
                if len(batch.windows) == batch_size:
                    yield batch
                    batch = Batch([], [])
        except InputError as error:
            hearing.error = error
        batch.ended.append(hearing)
    yield batch


def _side_by_side(
    score: Callable[[Batch], Tensor], batches: Iterator[Batch], device: torch.device
) -> Iterator[tuple[Batch, Tensor]]:
    """Each batch with its result, in order; a few are read ahead."""
    first = [*islice(batches, 2)]
    threads = torch.get_num_threads() if device.type == "cpu" and len(first) > 1 else 1
    if threads == 1:
        yield from ((batch, score(batch)) for batch in chain(first, batches))
        return
    waiting: deque[tuple[Batch, Future[Tensor]]] = deque()
    torch.set_num_threads(1)  # for each of the threads of the pool, which are made after this
    try:
        with ThreadPoolExecutor(threads) as pool:
            for batch in chain(first, batches):
                waiting.append((batch, pool.submit(score, batch)))
                if len(waiting) > 2 * threads:
                    batch, result = waiting.popleft()
                    yield batch, result.result()
            yield from ((batch, result.result()) for batch, result in waiting)
    finally:
        torch.set_num_threads(threads)


def cut_windows(blocks: Iterable[Tensor], size: int) -> Iterator[tuple[int, Tensor]]:
    """First sample and samples of every window, as :func:`atgnn.windows.window_places` has them."""
    hop = max(1, size // 2)
    held, first = torch.empty(0), 0  # ``first`` sample that is held
    for block in blocks:
        held = torch.cat((held, block))
        # The window before is kept until the recording is known to go on: the last one ends where it ends.
        while len(held) > size + hop:
            yield first, held[:size]
            held, first = held[hop:], first + hop
    if len(held):
        yield first, held[:size]
    if len(held) > size:
        yield first + len(held) - size, held[-size:]


def hear_sound(model: TaggingModule, sound: Sound, sample_rate: int | None = None) -> Hearing:
    """Hear one recording.

    Raises:
        InputError: if it cannot be read, or is a waveform without a sample rate.
    """
    (hearing,) = hear(model, [("recording", sound_blocks(model, sound, sample_rate))])
    if hearing.error is not None:
        raise hearing.error
    return hearing


def sound_blocks(model: TaggingModule, sound: Sound, sample_rate: int | None = None) -> Iterable[Tensor]:
    """A file or a waveform as blocks (t,) at the model's sample rate."""
    rate = model.tagger.frontend.sample_rate
    if not isinstance(sound, Tensor):
        return read_blocks(sound, rate)
    waveform = sound.mean(0) if sound.dim() == 2 else sound
    if sample_rate is None or waveform.dim() != 1 or len(waveform) == 0 or not waveform.isfinite().all():
        raise InputError(
            f"expected a path, or finite samples (T,) or (channels, T) and their sample_rate, "
            f"got a tensor {tuple(sound.shape)} at {sample_rate} Hz; give what is missing"
        )
    return [resample(waveform.float().cpu(), sample_rate, rate)]
