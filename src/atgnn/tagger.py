"""Tagger: waveform → log-mel → any network → logits."""

from __future__ import annotations

from torch import Tensor, nn

from atgnn.audio.frontend import LogMel
from atgnn.network import TaggingOutput


class Tagger(nn.Module):
    """A front end and a network in one: what is exported, embedded in other projects and run on files.

    Args:
        frontend: makes log-mels of waveforms.
        network: any module from normalised log-mels (B, 1, F, L) to a TaggingOutput.

    Shape:
        waveform: (B, T) at the front end's sample rate, samples in ±1.
        lengths: (B,), samples of each clip; T where None.
        returns: logits (B, S); their sigmoid is the probability of each label.
    """

    def __init__(self, frontend: LogMel, network: nn.Module) -> None:
        super().__init__()
        self.frontend = frontend
        self.network = network

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Tag a batch of waveforms."""
        return self.output(waveform, lengths).logits

    def output(self, waveform: Tensor, lengths: Tensor | None = None, **options: bool) -> TaggingOutput:
        """Tag a batch and keep all that the network says of it; ``options`` go to the network (``trace=True``)."""
        log_mel = self.frontend.normalize(self.frontend(waveform, lengths))
        return self.network(log_mel, **options)
