"""Resampling by blocks is resampling of the whole."""

import pytest
import torch

from atgnn.audio.resample import resample, resample_blocks


@pytest.mark.parametrize("rate", [44100, 48000, 8000, 44101, 16000])
@pytest.mark.parametrize("block", [1000, 7919, 10**6])
def test_blocks_equal_the_whole(rate, block):
    waveform = torch.rand(60001, generator=torch.Generator().manual_seed(0)) - 0.5
    whole = resample(waveform, rate, 16000)
    joined = torch.cat(list(resample_blocks(waveform.split(block), rate, 16000)))
    assert joined.shape == whole.shape
    torch.testing.assert_close(joined, whole, rtol=0, atol=2e-6)
