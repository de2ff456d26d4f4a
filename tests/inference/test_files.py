"""Tagging of waveforms and files of any length, rate and number of channels."""

import numpy as np
import pytest
import soundfile
import torch

from atgnn import ATGNN
from atgnn.errors import InputError
from atgnn.inference.files import Tag, score_waveform, tag_file


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return ATGNN(["Dog", "Bell", "Rain"], "pyramid-nano", n_mels=32, clip_seconds=0.5).eval()


def test_the_score_is_the_largest_of_the_windows(model):
    waveform = 0.1 * torch.randn(20000, generator=torch.Generator().manual_seed(1))
    one_by_one = [model(waveform[None, start : start + 8000]).sigmoid()[0] for start in (0, 4000, 8000, 12000)]
    expected = torch.stack(one_by_one).amax(0)
    torch.testing.assert_close(score_waveform(model, waveform, batch_size=3), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 10, 399, 400, 8000, 30001])
def test_any_length(model, samples):
    scores = score_waveform(model, torch.rand(samples) - 0.5)
    assert scores.shape == (3,)
    assert scores.isfinite().all()


@pytest.mark.parametrize(
    ("name", "rate", "channels"),
    [("a.wav", 16000, 1), ("b.flac", 44100, 2), ("c.ogg", 48000, 2), ("d.mp3", 22050, 1), ("e.wav", 8000, 6)],
)
def test_any_format_rate_and_channels(model, tmp_path, name, rate, channels):
    time = np.arange(rate) / rate
    soundfile.write(tmp_path / name, np.tile(0.3 * np.sin(880 * np.pi * time)[:, None], (1, channels)), rate)
    tags = tag_file(model, tmp_path / name)
    assert sorted(tag.label for tag in tags) == ["Bell", "Dog", "Rain"]
    assert [tag.score for tag in tags] == sorted((tag.score for tag in tags), reverse=True)
    assert isinstance(tags[0], Tag)


def test_bad_files(model, tmp_path):
    with pytest.raises(InputError, match=r"absent\.wav"):
        tag_file(model, tmp_path / "absent.wav")
    (tmp_path / "text.wav").write_text("not a sound")
    with pytest.raises(InputError, match=r"text\.wav"):
        tag_file(model, tmp_path / "text.wav")
