"""The picture of a recording and its tags."""

import numpy as np
import pytest
import soundfile
import torch

from atgnn import ATGNN
from atgnn.inference.picture import draw_tags, mel_ticks


@pytest.mark.parametrize("samples", [1, 4000, 30001])
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_any_length_is_drawn(tmp_path, samples, ending):
    torch.manual_seed(0)
    model = ATGNN(["Dog", "Bell"], "pyramid-nano", n_mels=32, clip_seconds=0.5).eval()
    soundfile.write(tmp_path / "clip.wav", 0.1 * np.random.default_rng(0).standard_normal(samples), 16000)
    draw_tags(model, tmp_path / "clip.wav", tmp_path / "new" / f"out.{ending}")
    assert (tmp_path / "new" / f"out.{ending}").stat().st_size > 5000


def test_ticks_name_the_bands_they_point_at():
    frontend = ATGNN(["Dog"], "pyramid-nano", n_mels=64, clip_seconds=0.5).tagger.frontend
    rows, names = mel_ticks(frontend.mel, 16000)
    time = torch.arange(16000) / 16000
    for row, name in zip(rows, names, strict=True):
        loudest = frontend(torch.sin(2 * torch.pi * int(name) * time))[0, 0].mean(1).argmax()
        assert abs(int(loudest) - row) <= 1
