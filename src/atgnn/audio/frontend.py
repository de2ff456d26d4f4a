"""LogMel: waveforms to Kaldi-compatible log-mel spectrograms, a batch at a time, on the model's device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Samples that are made log-mels at a time on a CPU.
CHUNK_SAMPLES = 300_000


class LogMel(nn.Module):
    r"""Turn waveforms into log-mel spectrograms as Kaldi does, then normalise them.

    Each clip loses its mean; each frame of 25 ms (every 10 ms) loses its own mean, is pre-emphasised, windowed (Hann)
    and summed over mel bands of its power spectrum; the logarithm is natural. Frames past a clip's end are zero in
    the log-mel, as in the published recipe, so that after normalising they are the constant −mean/std. A waveform of T
    samples gives L = ⌈T / hop_length⌉ frames. Runs in fp32, also inside autocast.

    Args:
        sample_rate: in Hz.
        n_mels: F.
        f_min: lower edge of the lowest band, in Hz.
        f_max: upper edge of the highest band, in Hz; half the sample rate where None.
        mean: mean of the data set's log-mels.
        std: their standard deviation; normalised values are (x − mean) / std.

    Shape:
        waveform: (B, T), samples in ±1, or (T,).
        lengths: (B,), samples of each clip; T where None.
        returns: (B, 1, F, L).

    Raises:
        ValueError: if the waveform is not (B, T) or (T,), or empty.

    Source: torchaudio.compliance.kaldi.fbank(window_type="hanning", htk_compat=True, dither=0).
    """

    window: Tensor
    mel: Tensor

    def __init__(
        self,
        sample_rate: int = 16000,
        n_mels: int = 128,
        f_min: float = 20.0,
        f_max: float | None = None,
        mean: float = -4.6476,
        std: float = 4.5699,
    ) -> None:
        super().__init__()
        from torchaudio.compliance.kaldi import get_mel_banks

        self.sample_rate = sample_rate
        self.mean = mean
        self.std = std
        self.win_length = int(sample_rate * 0.025)
        self.hop_length = int(sample_rate * 0.010)
        self.n_fft = 1 << (self.win_length - 1).bit_length()
        window = torch.hann_window(self.win_length, periodic=False)
        mel, _ = get_mel_banks(n_mels, self.n_fft, float(sample_rate), f_min, f_max or 0.0, 100.0, -500.0, 1.0)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("mel", F.pad(mel, (0, 1)).T.contiguous(), persistent=False)

    def num_frames(self, num_samples: int) -> int:
        """Frames L of a waveform of ``num_samples``."""
        # Not -(-n // hop): ONNX rounds a division of integers toward zero.
        return max(1, (num_samples + self.hop_length - 1) // self.hop_length)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Make log-mels (B, 1, F, L), not yet normalised: masks belong before :meth:`normalize`."""
        if waveform.dim() == 1:
            waveform = waveform.unsqueeze(0)
        if waveform.dim() != 2 or waveform.numel() == 0:
            raise ValueError(f"expected waveforms (B, T) or (T,) of at least one sample, got {tuple(waveform.shape)}")
        if lengths is None:
            lengths = torch.full((waveform.size(0),), waveform.size(1), device=waveform.device)
        with torch.autocast(waveform.device.type, enabled=False):
            if waveform.device.type != "cpu" or torch.compiler.is_compiling():
                return self._log_mel(waveform.float(), lengths)
            # What comes in between is 25 times as large as the clip: a few clips at a time stay in a CPU's cache.
            clips = max(1, CHUNK_SAMPLES // waveform.size(1))
            parts = zip(waveform.float().split(clips), lengths.split(clips), strict=True)
            return torch.cat([self._log_mel(*part) for part in parts])

    def normalize(self, log_mel: Tensor) -> Tensor:
        """(x − mean) / std."""
        return (log_mel - self.mean) / self.std

    def _log_mel(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        num_samples = waveform.size(1)
        inside = torch.arange(num_samples, device=waveform.device) < lengths.unsqueeze(1)
        mean = (waveform * inside).sum(1, keepdim=True) / lengths.clamp(min=1).unsqueeze(1)
        waveform = torch.where(inside, waveform - mean, 0.0)

        padded = F.pad(waveform, (0, max(0, self.win_length - num_samples)))
        frames = padded.unfold(1, self.win_length, self.hop_length)
        frames = frames - frames.mean(-1, keepdim=True)
        before = torch.cat((frames[..., :1], frames[..., :-1]), dim=-1)
        frames = (frames - 0.97 * before) * self.window
        spectrum = torch.fft.rfft(frames, n=self.n_fft)
        power = spectrum.real.square() + spectrum.imag.square()
        log_mel = (power @ self.mel).clamp(min=torch.finfo(torch.float32).eps).log()

        valid = (torch.div(lengths - self.win_length, self.hop_length, rounding_mode="floor") + 1).clamp(min=1)
        number = torch.arange(log_mel.size(1), device=waveform.device)
        log_mel = torch.where((number < valid.unsqueeze(1)).unsqueeze(-1), log_mel, 0.0)
        log_mel = F.pad(log_mel, (0, 0, 0, self.num_frames(num_samples) - log_mel.size(1)))
        return log_mel.transpose(1, 2).unsqueeze(1)
