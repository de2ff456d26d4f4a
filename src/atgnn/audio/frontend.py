"""LogMel: waveforms to Kaldi-compatible log-mel spectrograms, a batch at a time, on the model's device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atgnn.nn.linear import linear

#: Samples that are made log-mels at a time on a CPU; what comes in between is 25 times as large and stays in its cache.
CHUNK_SAMPLES = 330_000


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
        self.register_buffer("window", F.pad(window, (0, self.n_fft - self.win_length)), persistent=False)
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
        frames = max(0, waveform.size(1) - self.win_length) // self.hop_length + 1
        missing = self.num_frames(waveform.size(1)) - frames
        with torch.autocast(waveform.device.type, enabled=False):
            waveform = waveform.float()
            if waveform.device.type != "cpu" or torch.compiler.is_compiling():
                mel = F.pad(self._mel(waveform, lengths), (0, 0, 0, missing), value=1.0)  # whose logarithm is zero
            else:
                mel = waveform.new_empty(len(waveform), frames + missing, self.mel.size(1))
                mel[:, frames:] = 1.0
                clips = max(1, CHUNK_SAMPLES // waveform.size(1))
                for some in map(slice, range(0, len(mel), clips), range(clips, len(mel) + clips, clips)):
                    mel[some, :frames] = self._mel(waveform[some], None if lengths is None else lengths[some])
            log_mel = mel.clamp_(min=torch.finfo(torch.float32).eps).log_()
        if lengths is not None:
            valid = (torch.div(lengths - self.win_length, self.hop_length, rounding_mode="floor") + 1).clamp(min=1)
            number = torch.arange(log_mel.size(1), device=waveform.device)
            log_mel = log_mel.masked_fill((number >= valid.unsqueeze(1)).unsqueeze(-1), 0.0)
        return log_mel.transpose(1, 2).unsqueeze(1)

    def normalize(self, log_mel: Tensor) -> Tensor:
        """(x − mean) / std."""
        return (log_mel - self.mean) / self.std

    def _mel(self, waveform: Tensor, lengths: Tensor | None) -> Tensor:
        """Energies of the mel bands (B, L', F), in frames that lie inside the waveform."""
        if lengths is None:
            waveform = waveform - waveform.mean(1, keepdim=True)
        else:
            inside = torch.arange(waveform.size(1), device=waveform.device) < lengths.unsqueeze(1)
            mean = (waveform * inside).sum(1, keepdim=True) / lengths.clamp(min=1).unsqueeze(1)
            waveform = torch.where(inside, waveform - mean, 0.0)

        # Frames are as long as the transform, and the window is zero past their end and at their first sample; before
        # them are samples to pre-emphasise with, 16 so that frames lie at even addresses. All is done in Kaldi's order,
        # because it is rounding that quiet bands consist of.
        before = 16
        padded = F.pad(waveform, (before, max(self.n_fft - self.win_length, self.n_fft - waveform.size(1))))
        frames = padded.unfold(1, before + self.n_fft, self.hop_length)
        frames = frames - frames[..., before : before + self.win_length].mean(-1, keepdim=True)
        frames = (0.97 * frames[..., before - 1 : -1]).sub_(frames[..., before:])  # the sign is lost in the power
        square = torch.view_as_real(torch.fft.rfft(frames.mul_(self.window))).square_()
        power = square[..., 0] + square[..., 1]
        return linear(power.flatten(0, 1), self.mel.T).unflatten(0, power.shape[:2])
