from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from atgnn.audio.files import audio_info, encode_flac, read_audio
from atgnn.errors import InputError


def sine(seconds: float, rate: int, pitch: float = 440.0, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_every_format_becomes_mono_at_the_asked_rate(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    left, right = sine(0.5, 48000), sine(0.5, 48000, amplitude=0.1)
    soundfile.write(path, np.stack([left, right], axis=1), 48000)
    waveform = read_audio(path, 16000)
    assert waveform.dtype == torch.float32
    assert waveform.shape == (8000,)
    expected = torch.from_numpy(sine(0.5, 16000, amplitude=0.3)).float()
    # Codecs and the ends of the resampling filter leave a little; a channel lost or doubled would leave 0.2.
    assert (waveform - expected)[1000:7000].abs().max() < 0.03


def test_opus_is_decoded(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.opus", sine(0.5, 48000), 48000, format="OGG", subtype="OPUS")
    assert read_audio(tmp_path / "a.opus", 16000).shape == (8000,)


def test_one_sample_is_enough(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.25]), 48000)
    assert read_audio(tmp_path / "a.wav", 48000).tolist() == [0.25]
    assert read_audio(tmp_path / "a.wav", 16000).shape == (1,)


def test_resampling_keeps_tones_and_removes_what_would_fold(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(1, 44100, 1000) + sine(1, 44100, 10000, 0.4), 44100, subtype="FLOAT")
    waveform = read_audio(tmp_path / "a.wav", 16000)
    expected = torch.from_numpy(sine(1, 16000, 1000)).float()
    assert (waveform - expected)[500:-500].abs().max() < 2e-3


@pytest.mark.parametrize("rate", [7919, 44101, 191999])
def test_rates_without_a_common_factor_are_resampled_in_little_memory(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", sine(0.25, rate, 500), rate, subtype="FLOAT")
    waveform = read_audio(tmp_path / "a.wav", 16000)
    expected = torch.from_numpy(sine(0.25, 16000, 500)).float()
    assert abs(len(waveform) - 4000) <= 1
    assert (waveform[:3900] - expected[:3900])[200:-200].abs().max() < 0.01


def test_samples_beyond_one_are_scaled_down(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.0, 4.0, -1.0]), 16000, subtype="FLOAT")
    assert read_audio(tmp_path / "a.wav", 16000).tolist() == [0.0, 1.0, -0.25]


def test_open_files_are_read_and_named(tmp_path: Path) -> None:
    data = encode_flac(torch.zeros(10), 16000)
    assert read_audio(io.BytesIO(data), 16000).shape == (10,)
    with pytest.raises(InputError, match="'clip a17', which cannot be decoded"):
        read_audio(io.BytesIO(b"no audio"), 16000, name="clip a17")


def test_flac_keeps_16_bits_and_is_the_same_each_time() -> None:
    waveform = torch.randint(-32768, 32768, (1000,), generator=torch.Generator().manual_seed(0)) / 32768
    data = encode_flac(waveform, 16000)
    assert data == encode_flac(waveform, 16000)
    assert torch.equal(read_audio(io.BytesIO(data), 16000), waveform)


def test_flac_clips_what_is_too_loud() -> None:
    decoded = read_audio(io.BytesIO(encode_flac(torch.tensor([2.0, -2.0]), 16000)), 16000)
    assert decoded.tolist() == [32767 / 32768, -1.0]


def test_info_comes_from_the_header(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((4800, 2)), 48000)
    info = audio_info(tmp_path / "a.wav")
    assert (info.sample_rate, info.channels, info.frames, info.duration) == (48000, 2, 4800, 0.1)


def test_unusable_files_are_refused_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not audio")
    (tmp_path / "bare.raw").write_bytes(bytes(100))
    (tmp_path / "nothing.wav").write_bytes(b"")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "inf.wav", np.array([0.0, np.inf]), 16000, subtype="FLOAT")
    for name, message in {
        "absent.wav": "expected a sound file, got '.*absent.wav', which does not exist; correct the path",
        "text.wav": "expected a sound file that libsndfile reads, got '.*text.wav', which cannot be decoded; convert",
        "bare.raw": "which cannot be decoded",
        "nothing.wav": "which cannot be decoded",
        "empty.wav": "expected at least one sample, got none in '.*empty.wav'; leave out the file",
        "nan.wav": "expected finite samples, got NaN or infinity in '.*nan.wav'",
        "inf.wav": "expected finite samples, got NaN or infinity in '.*inf.wav'",
    }.items():
        with pytest.raises(InputError, match=message) as caught:
            read_audio(tmp_path / name, 16000)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="which does not exist"):
        audio_info(tmp_path / "absent.wav")


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16000)
    soundfile.write(tmp_path / "a.flac", noise, 16000)
    data = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"a\.flac"):
        read_audio(tmp_path / "a.flac", 16000)
