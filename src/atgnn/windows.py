"""Windows: clips longer than a model's are heard through half-overlapping windows of its length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

#: What is scored of a clip: its "first" seconds, as published, or all of it, by "windows".
Protocol = Literal["first", "windows"]


class Windows(NamedTuple):
    """What a model says of the windows of B clips, clip after clip.

    Shape:
        logits: (W, S).
        clip: (W,), the clip that each is cut from, 0 … B-1.
        start: (W,), its first sample there.
    """

    logits: Tensor
    clip: Tensor
    start: Tensor

    def pooled(self) -> Tensor:
        """Logits (B, S) of the clips: a label is heard in a clip as well as in the best of its windows.

        The sigmoid keeps order, so this is also the largest probability.
        """
        return torch.stack([logits.amax(0) for logits in self.logits.split(self.clip.bincount().tolist())])


def window_places(lengths: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Clip and first sample of every window; the last window of a clip ends where the clip ends.

    Args:
        lengths: samples of each clip.
        size: samples of a window.

    Shape:
        lengths: (B,).
        returns: (W,) and (W,); a clip no longer than a window has one.
    """
    hop = max(1, size // 2)
    last = (lengths - size).clamp(min=0)
    counts = (last + hop - 1) // hop + 1
    clip = torch.arange(len(lengths), device=lengths.device).repeat_interleave(counts)
    number = torch.arange(len(clip), device=lengths.device) - (counts.cumsum(0) - counts)[clip]
    return clip, torch.minimum(number * hop, last[clip])


def tag_windows(
    model: Callable[[Tensor, Tensor], Tensor], waveform: Tensor, lengths: Tensor, size: int, batch_size: int
) -> Windows:
    """Tag every window of a batch of clips; the same for each clip as if it came alone.

    Args:
        model: logits of waveforms and their lengths, in eval mode.
        waveform: clips, zero past their ends.
        lengths: samples of each clip.
        size: samples of a window.
        batch_size: windows at a time, which bounds the memory.

    Shape:
        waveform: (B, T).
        lengths: (B,).
    """
    cut = F.pad(waveform, (0, max(0, size - waveform.size(1)))).unfold(1, size, 1)  # a view
    clip, start = window_places(lengths, size)
    logits = [
        model(cut[c, s], (lengths[c] - s).clamp(max=size))
        for c, s in zip(clip.split(batch_size), start.split(batch_size), strict=True)
    ]
    return Windows(torch.cat(logits), clip, start)
