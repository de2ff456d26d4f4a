"""Tagging of waveforms and files of any length, rate and number of channels."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from atgnn.audio.files import read_audio
from atgnn.module import ATGNN
from atgnn.windows import Windows, tag_windows


class Tag(NamedTuple):
    """A label and how probable it is in a recording, 0 … 1."""

    label: str
    score: float


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
    return score_windows(model, waveform, batch_size).pooled()[0].sigmoid().cpu()


def score_windows(model: ATGNN, waveform: Tensor, batch_size: int = 8) -> Windows:
    """Logits of the half-overlapping windows of a recording (T,), as in :func:`score_waveform`."""
    size = round(model.clip_seconds * model.tagger.frontend.sample_rate)
    waveform = waveform[None].to(model.device)
    lengths = torch.tensor([waveform.size(1)], device=model.device)
    return tag_windows(model.score, waveform, lengths, size, batch_size)


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
