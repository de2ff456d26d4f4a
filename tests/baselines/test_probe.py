"""The linear probe: mean log-mels of what is inside a clip, and a classifier that tells tones from noise."""

import numpy as np
import pytest
import soundfile
import torch
from torchaudio.compliance import kaldi

from atgnn.audio.frontend import LogMel
from atgnn.baselines.probe import mean_log_mels, probe
from atgnn.data.shards import write_shards
from atgnn.scores import Scores


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe")
    rng = np.random.default_rng(0)
    for number in range(12):
        time = np.arange(4000 + 100 * number) / 16000
        for label, sound in (
            ("Tone", np.sin(2 * np.pi * rng.uniform(300, 2000) * time)),
            ("Noise", rng.standard_normal(time.size)),
        ):
            (folder / "clips" / label).mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / "clips" / label / f"{number}.wav", 0.2 * sound, 16000)
    write_shards(folder / "clips", folder / "shards", val_fraction=0.0, test_fraction=0.5)
    return folder / "shards"


def test_frames_past_the_end_do_not_count(shards):
    keys, means, targets = mean_log_mels(str(shards), ["test"], LogMel(), crop_seconds=1.0)
    assert means.shape == (len(keys), 128)
    assert targets.sum(1).tolist() == [1.0] * len(keys)
    for path in shards.parent.glob("clips/*/*.wav"):
        waveform = torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None]
        waveform = waveform - waveform.mean()
        reference = kaldi.fbank(
            waveform, num_mel_bins=128, window_type="hanning", htk_compat=True, dither=0.0, use_energy=False
        )
        if np.allclose(means[0], reference.mean(0).numpy(), atol=1e-3):
            break
    else:
        pytest.fail(f"no recording has the mean log-mel of clip {keys[0]}")


def test_a_probe_tells_tones_from_noise(shards, tmp_path):
    probe(str(shards), tmp_path / "probe.npz", crop_seconds=1.0)
    scores = Scores.load(tmp_path / "probe.npz")
    assert sorted(scores.labels) == ["Noise", "Tone"]
    assert scores.average_precision().min() > 0.99
