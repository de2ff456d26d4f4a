"""Tagger: waveform → log-mel → any network → logits."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from atgnn.audio.frontend import LogMel
from atgnn.network import TaggingOutput


class Tagger(nn.Module):
    """A front end and a network in one: what is exported, embedded in other projects and run on files.

    Args:
        frontend: makes log-mels of waveforms.
        network: any module from normalised log-mels (B, 1, F, L) to a TaggingOutput.
        short_clips: what fills the samples past a clip's end: "pad" leaves them empty, as in the published recipe;
            "repeat" plays the clip again and again, so that a short sound is not lost among empty patches.

    Shape:
        waveform: (B, T) at the front end's sample rate, samples in ±1.
        lengths: (B,), samples of each clip; T where None.
        returns: logits (B, S); their sigmoid is the probability of each label.
    """

    def __init__(self, frontend: LogMel, network: nn.Module, short_clips: Literal["pad", "repeat"] = "pad") -> None:
        super().__init__()
        self.frontend = frontend
        self.network = network
        self.short_clips = short_clips

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Tag a batch of waveforms."""
        return self.output(waveform, lengths).logits

    def output(self, waveform: Tensor, lengths: Tensor | None = None, **options: bool) -> TaggingOutput:
        """Tag a batch and keep all that the network says of it; ``options`` go to the network (``trace=True``)."""
        waveform, lengths = self.fill(waveform, lengths)
        log_mel = self.frontend.normalize(self.frontend(waveform, lengths))
        return self.network(log_mel, **options)

    def fill(self, waveform: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Fill the samples past each clip's end, as ``short_clips`` says."""
        if self.short_clips == "pad" or lengths is None:
            return waveform, lengths
        return repeat_clips(waveform, lengths), torch.full_like(lengths, waveform.size(-1))


def repeat_clips(waveform: Tensor, lengths: Tensor) -> Tensor:
    """Repeat each clip until its row is full.

    Shape:
        waveform: (B, T).
        lengths: (B,), samples of each clip, 1 … T.
        returns: (B, T).
    """
    time = torch.arange(waveform.size(1), device=waveform.device)
    return waveform.gather(1, time % lengths.clamp(min=1).unsqueeze(1))
