"""Tagging of waveforms and files of any length, rate and number of channels."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from atgnn.audio.files import read_audio
from atgnn.module import ATGNN


class Tag(NamedTuple):
    """A label and how probable it is in a recording, 0 … 1."""

    label: str
    score: float


def windows(waveform: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Cut a waveform into half-overlapping windows; the last one ends where the waveform ends.

    Args:
        waveform: samples.
        size: samples of a window.

    Shape:
        waveform: (T,).
        returns: windows (W, size), zero-padded if T < size, and the samples (W,) of each that are inside.
    """
    count = waveform.size(0)
    starts = list(range(0, max(1, count - size + 1), max(1, size // 2)))
    if count > size and starts[-1] + size < count:
        starts.append(count - size)
    cut = torch.stack([F.pad(waveform[s : s + size], (0, max(0, s + size - count))) for s in starts])
    lengths = torch.tensor([min(size, count - s) for s in starts])
    return cut, lengths


@torch.inference_mode()
def score_waveform(model: ATGNN, waveform: Tensor, batch_size: int = 8) -> Tensor:
    """Score every label of a recording: the largest score of its half-overlapping windows.

    Args:
        model: in eval mode.
        waveform: at the model's sample rate.
        batch_size: windows at a time.

    Shape:
        waveform: (T,), T ≥ 1.
        returns: (S,), in 0 … 1.
    """
    size = round(model.clip_seconds * model.tagger.frontend.sample_rate)
    cut, lengths = windows(waveform, size)
    scores = [
        model(part.to(model.device), length.to(model.device)).sigmoid()
        for part, length in zip(cut.split(batch_size), lengths.split(batch_size), strict=True)
    ]
    return torch.cat(scores).amax(dim=0).cpu()


def tag_file(model: ATGNN, path: str | Path) -> list[Tag]:
    """Tag a recording: every label with its score, the most probable first.

    Raises:
        InputError: if the file is absent, cannot be decoded, is empty or not finite.
    """
    waveform = read_audio(path, model.tagger.frontend.sample_rate)
    scores = score_waveform(model, waveform).tolist()
    return sorted((Tag(*pair) for pair in zip(model.labels, scores, strict=True)), key=_score, reverse=True)


def _score(tag: Tag) -> float:
    return tag.score
