"""Tagging of recordings of any length, rate and number of channels, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from os import PathLike
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from atgnn.audio.files import read_blocks
from atgnn.audio.resample import resample
from atgnn.errors import InputError
from atgnn.tagging import TaggingModule
from atgnn.windows import Windows, tag_windows

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


@torch.inference_mode()
def hear(
    model: TaggingModule, recordings: Iterable[tuple[str, Iterable[Tensor]]], batch_size: int = 2
) -> Iterator[Hearing]:
    """Hear recordings through half-overlapping windows of the model's length; windows of several share a batch.

    A window that goes beyond ±1 is scaled down by its peak. A recording that cannot be read has an error instead of
    logits; the others are heard all the same.

    Args:
        model: in eval mode.
        recordings: a name, and the waveform at the model's sample rate as consecutive blocks (t,), of each.
        batch_size: windows at a time.
    """
    size = round(model.clip_seconds * model.tagger.frontend.sample_rate)
    batch: list[tuple[Hearing, Tensor]] = []
    begun: deque[Hearing] = deque()
    for name, blocks in recordings:
        hearing = Hearing(name)
        try:
            for start, window in cut_windows(blocks, size):
                hearing.starts.append(start)
                hearing.samples = start + len(window)
                batch.append((hearing, window))
                if len(batch) == batch_size:
                    _tag_batch(model, batch, size)
                    yield from begun
                    begun.clear()
        except InputError as error:
            hearing.error = error
        begun.append(hearing)
    _tag_batch(model, batch, size)
    yield from begun


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


def _tag_batch(model: TaggingModule, batch: list[tuple[Hearing, Tensor]], size: int) -> None:
    if batch:
        lengths = torch.tensor([len(window) for _, window in batch])
        waveform = torch.stack([F.pad(window, (0, size - len(window))) for _, window in batch])
        waveform = waveform / waveform.abs().amax(1, keepdim=True).clamp(min=1.0)
        logits = model.score(waveform.to(model.device), lengths.to(model.device)).float().cpu()
        for (hearing, _), row in zip(batch, logits, strict=True):
            hearing.logits.append(row)
        batch.clear()


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


@torch.inference_mode()
def score_waveform(model: TaggingModule, waveform: Tensor, batch_size: int = 2) -> Tensor:
    """Scores (S,) of every label of a waveform (T,) at the model's rate: the largest over its windows."""
    size = round(model.clip_seconds * model.tagger.frontend.sample_rate)
    waveform = waveform[None].to(model.device)
    lengths = torch.tensor([waveform.size(1)], device=model.device)
    return tag_windows(model.score, waveform, lengths, size, batch_size).pooled()[0].sigmoid().cpu()
