from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor
from torchaudio.compliance.kaldi import fbank

from atgnn.audio.frontend import LogMel

CLIPS = sorted((Path(__file__).parents[2] / "data" / "mini" / "clips").glob("*.flac"))
FLOOR = torch.tensor(torch.finfo(torch.float32).eps).log()


def kaldi(waveform: Tensor, sample_rate: int = 16000, **settings: float) -> Tensor:
    """The published front end, of one clip: (F, L)."""
    return fbank(
        (waveform - waveform.mean())[None],
        sample_frequency=sample_rate,
        window_type="hanning",
        htk_compat=True,
        use_energy=False,
        dither=0.0,
        frame_shift=10,
        **{"num_mel_bins": 128} | settings,
    ).T


@pytest.mark.parametrize("path", CLIPS[::18], ids=lambda path: path.stem)
def test_real_recordings_give_what_kaldi_gives(path: Path) -> None:
    waveform = torch.from_numpy(soundfile.read(path, frames=24000, dtype="float32")[0])
    log_mel, expected = LogMel()(waveform)[0, 0], kaldi(waveform)
    frames = expected.size(1)
    torch.testing.assert_close(log_mel[:, :frames], expected, atol=1e-4, rtol=0)
    assert log_mel.size(1) == -(-len(waveform) // 160)
    assert not log_mel[:, frames:].any()


def test_the_bundled_recordings_are_there() -> None:
    assert len(CLIPS) == 108


@pytest.mark.parametrize("sample_rate", [8000, 16000, 22050, 32000, 44100, 48000])
def test_noise_gives_what_kaldi_gives_at_any_rate(sample_rate: int) -> None:
    waveform = 0.1 * torch.randn(sample_rate // 2)
    frontend = LogMel(sample_rate, n_mels=64, f_min=50.0, f_max=3500.0)
    expected = kaldi(waveform, sample_rate, num_mel_bins=64, low_freq=50.0, high_freq=3500.0)
    torch.testing.assert_close(frontend(waveform)[0, 0, :, : expected.size(1)], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (160, 1), (161, 2), (400, 3), (16000, 100), (163840, 1024)])
def test_number_of_frames(samples: int, frames: int) -> None:
    frontend = LogMel()
    assert frontend.num_frames(samples) == frames
    assert frontend(torch.zeros(1, samples)).shape == (1, 1, 128, frames)


@pytest.mark.parametrize("samples", [1, 100, 399])
def test_clips_shorter_than_a_window_are_padded_to_one(samples: int) -> None:
    waveform = torch.randn(samples)
    padded = torch.cat((waveform - waveform.mean(), torch.zeros(400 - samples)))
    # Kaldi would take the mean of the padded clip away once more, which each frame loses anyway.
    torch.testing.assert_close(LogMel()(waveform)[0, 0, :, :1], kaldi(padded), atol=1e-4, rtol=0)


def test_batch_equals_a_loop_and_ends_where_the_clips_end() -> None:
    frontend, lengths = LogMel(), torch.tensor([8000, 1, 5003, 400, 0])
    waveform = torch.randn(5, 8000)  # what lies past a clip's end must not matter
    together = frontend(waveform, lengths)
    for row, clip, length in zip(together, waveform, lengths.tolist(), strict=True):
        torch.testing.assert_close(frontend(clip, torch.tensor([length]))[0], row)
        valid = 1 + max(0, length - 400) // 160
        assert not row[..., valid:].any()
        if length:
            torch.testing.assert_close(frontend(clip[:length])[..., :valid][0], row[..., :valid])


def test_frames_past_the_end_become_the_published_constant() -> None:
    frontend = LogMel()
    log_mel = frontend.normalize(frontend(torch.randn(1, 8000), torch.tensor([4000])))
    assert log_mel[0, 0, 0, -1].item() == pytest.approx(4.6476 / 4.5699)
    torch.testing.assert_close(LogMel(mean=1.0, std=2.0).normalize(torch.tensor([5.0])), torch.tensor([2.0]))


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_silence_is_finite(value: float) -> None:
    assert torch.equal(LogMel()(torch.full((1, 480), value))[..., :1], FLOOR.expand(1, 1, 128, 1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(dtype: torch.dtype) -> None:
    frontend, waveform = LogMel(), torch.randn(2, 1600)
    expected = frontend(waveform)
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(frontend(waveform), expected)
        assert frontend(waveform.to(dtype)).dtype == torch.float32


@pytest.mark.parametrize("scale", [1.0, 0.0])
def test_gradients_reach_the_waveform(scale: float) -> None:
    waveform = (scale * torch.randn(1, 1600)).requires_grad_()
    LogMel()(waveform).sum().backward()
    assert waveform.grad.isfinite().all()
    assert waveform.grad.any() == bool(scale)


def test_nothing_of_the_front_end_is_kept_in_a_checkpoint() -> None:
    assert LogMel().state_dict() == {}


@pytest.mark.parametrize("shape", [(0,), (2, 0), (1, 2, 3), ()])
def test_what_is_no_waveform_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected waveforms \(B, T\) or \(T,\) of at least one sample, got"):
        LogMel()(torch.zeros(shape))
