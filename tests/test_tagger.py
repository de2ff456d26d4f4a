from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from atgnn.audio.frontend import LogMel
from atgnn.network import ATGNNNetwork, TaggingOutput
from atgnn.tagger import Tagger, repeat_clips


class MeanNetwork(nn.Module):
    """Any network will do: this one's logits are the mean of each band."""

    def forward(self, log_mel: Tensor) -> TaggingOutput:
        return TaggingOutput(log_mel.mean((1, 3)))


def test_waveform_to_log_mel_to_network() -> None:
    frontend, waveform, lengths = LogMel(n_mels=32), torch.randn(3, 4000), torch.tensor([4000, 2000, 1])
    logits = Tagger(frontend, MeanNetwork())(waveform, lengths)
    log_mel = (frontend(waveform, lengths) + 4.6476) / 4.5699
    torch.testing.assert_close(logits, log_mel.mean((1, 3)))


@pytest.mark.parametrize("trace", [True, False])
def test_output_keeps_all_that_the_network_says(trace: bool) -> None:
    network = ATGNNNetwork(5, "pyramid-nano", n_mels=32, n_frames=32)
    tagger, waveform = Tagger(LogMel(n_mels=32), network).eval(), torch.randn(2, 4000)
    output = tagger.output(waveform, trace=trace)
    assert torch.equal(output.logits, tagger(waveform))
    assert len(output.patches) == len(output.labels) == 4
    assert (output.gathered is not None) == trace


@pytest.mark.parametrize("shape", [(1,), (4000,), (1, 1), (2, 100)])
def test_short_waveforms_are_tagged(shape: tuple[int, ...]) -> None:
    tagger = Tagger(LogMel(n_mels=32), ATGNNNetwork(5, "pyramid-nano", n_mels=32, n_frames=32)).eval()
    logits = tagger(0.1 * torch.randn(shape))
    assert logits.shape == (shape[0] if len(shape) == 2 else 1, 5)
    assert logits.isfinite().all()


def test_clips_repeat_until_their_row_is_full() -> None:
    waveform = torch.tensor([[1.0, 2, 3, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7], [5, 0, 0, 0, 0, 0, 0]])
    filled = repeat_clips(waveform, torch.tensor([3, 7, 1]))
    assert filled.tolist() == [[1, 2, 3, 1, 2, 3, 1], [1, 2, 3, 4, 5, 6, 7], [5] * 7]


def test_short_clips_are_repeated_or_left_as_they_are() -> None:
    clip = torch.randn(1000)
    padded, repeated = torch.zeros(2, 4000), clip.repeat(2, 4)
    padded[:, :1000] = clip
    lengths = torch.tensor([1000, 1000])
    repeat, pad = (Tagger(LogMel(n_mels=32), MeanNetwork(), fill) for fill in ("repeat", "pad"))
    torch.testing.assert_close(repeat(padded, lengths), pad(repeated))
    assert not torch.allclose(repeat(padded, lengths), pad(padded, lengths))
