"""Embeddings of recordings: the patches of every stage, averaged over frequency."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from atgnn.inference.files import Sound, sound_blocks
from atgnn.module import ATGNN


@torch.inference_mode()
def embed_sound(model: ATGNN, sound: Sound, sample_rate: int | None = None) -> Tensor:
    """Mean over time of a recording's :func:`frame_embeddings`: (C,), the widths of all stages together."""
    total, count = torch.zeros(()), 0
    for chunk in _chunks(sound_blocks(model, sound, sample_rate), _chunk_size(model)):
        frames = frame_embeddings(model, chunk[None])[0].cpu()
        total, count = total + frames.sum(0), count + len(frames)
    return total / count


@torch.inference_mode()
def frame_embeddings(model: ATGNN, waveform: Tensor) -> Tensor:
    """Embed every column of patches: all stages side by side, later ones repeated to the first one's rate.

    Waveforms longer than the clips of the model are embedded in pieces of that length.

    Args:
        model: in eval mode.
        waveform: at the model's sample rate.

    Shape:
        waveform: (B, T).
        returns: (B, t, C), a column every :func:`frame_seconds`.
    """
    pieces = []
    for chunk in waveform.to(model.device).split(_chunk_size(model), dim=1):
        maps = [patches.mean(dim=2) for patches in model.tagger.output(chunk).patches]
        width = maps[0].size(2)
        # Stage by stage the grid is halved, rounding up: column c of stage t covers 2ᵗ columns of the first.
        pieces.append(torch.cat([m.repeat_interleave(2**t, dim=2)[..., :width] for t, m in enumerate(maps)], dim=1))
    return torch.cat(pieces, dim=2).transpose(1, 2).float()


def frame_seconds(model: ATGNN) -> float:
    """Seconds between columns of patches."""
    return _hop(model) / model.tagger.frontend.sample_rate


def patch_frames(model: ATGNN) -> int:
    """Frames, and mel bins, that a patch of the first stage covers."""
    return math.prod(layer.stride[0] for layer in model.network.stem if isinstance(layer, nn.Conv2d))


def _hop(model: ATGNN) -> int:
    return patch_frames(model) * model.tagger.frontend.hop_length


def _chunk_size(model: ATGNN) -> int:
    """Samples of the model's clips, in whole columns."""
    return max(1, round(model.clip_seconds * model.tagger.frontend.sample_rate) // _hop(model)) * _hop(model)


def _chunks(blocks: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    held = torch.empty(0)
    for block in blocks:
        *whole, held = torch.cat((held, block)).split(size)
        yield from whole
    yield held
