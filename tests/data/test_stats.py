from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from torchaudio.compliance.kaldi import fbank

from atgnn.audio.files import encode_flac, read_audio
from atgnn.data.archive import Sample, read_shard, write_split
from atgnn.data.index import read_index
from atgnn.data.stats import BATCH, shard_stats


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """Clips of noise, each of its own length and level, one of them shorter than a frame."""
    samples = [
        Sample(f"{n:03d}", encode_flac(torch.randn(300 + 397 * n) / (4 + n), 16000), {"labels": ["a"], "duration": 1})
        for n in range(BATCH + 8)
    ]
    write_split(tmp_path / "train", samples, sample_rate=16000, labels=["a"], clips_per_shard=BATCH + 4, recipe={})
    return tmp_path


def kaldi(waveform: torch.Tensor, n_mels: int) -> torch.Tensor:
    waveform = torch.nn.functional.pad(waveform - waveform.mean(), (0, max(0, 400 - len(waveform))))
    log_mel = fbank(
        waveform[None], window_type="hanning", num_mel_bins=n_mels, htk_compat=True, use_energy=False, dither=0.0
    )
    return log_mel.flatten().double()


@pytest.mark.parametrize(("n_mels", "jobs"), [(128, 1), (40, 2)])
def test_mean_and_std_are_those_of_kaldis_frames(noise: Path, n_mels: int, jobs: int) -> None:
    index = read_index(noise / "train")
    samples = [sample for shard in index.shards for sample in read_shard(index.directory, shard)]
    frames = torch.cat([kaldi(read_audio(io.BytesIO(s.flac), 16000), n_mels) for s in samples])
    stats = shard_stats(noise, n_mels=n_mels, jobs=jobs)
    assert stats.mean == pytest.approx(frames.mean().item(), abs=1e-4)
    assert stats.std == pytest.approx(frames.std(correction=0).item(), abs=1e-4)
    assert str(stats) == f"mean: {stats.mean:.4f}\nstd: {stats.std:.4f}"
    kept = json.loads((noise / "stats.json").read_text())
    assert kept == {"train": {"mean": stats.mean, "std": stats.std, "n_mels": n_mels, "digest": index.digest}}


def test_long_clips_are_measured_in_pieces(noise: Path) -> None:
    whole, pieces = shard_stats(noise), shard_stats(noise, clip_seconds=0.5)
    assert pieces.mean == pytest.approx(whole.mean, abs=0.02)
    assert pieces.mean != whole.mean
