"""Augmentations of a whole batch on its device, drawn from one generator: mixup, overlays, speed, masks."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn


class Mixup(nn.Module):
    r"""Mix each waveform with another of its batch, and their targets alike.

    :math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)` for a whole α is the median of 2α − 1 uniform numbers.

    Args:
        p: probability of mixing a clip.
        alpha: α.

    Shape:
        waveform: (B, T).
        lengths: (B,).
        targets: (B, S).
        returns: the three, mixed; a mixed clip is as long as the longer of the two.

    Raises:
        ValueError: if ``alpha`` is not a whole number of at least 1.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
    """

    def __init__(self, p: float = 0.5, alpha: int = 10) -> None:
        super().__init__()
        if alpha < 1 or alpha != int(alpha):
            raise ValueError(f"expected a whole alpha of at least 1, got {alpha}")
        self.p = p
        self.alpha = int(alpha)

    def forward(
        self, waveform: Tensor, lengths: Tensor, targets: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mix a batch."""
        clips, device = waveform.size(0), waveform.device
        uniform = torch.rand(clips, 2 * self.alpha - 1, device=device, generator=generator)
        mixed = torch.rand(clips, device=device, generator=generator) < self.p
        lam = torch.where(mixed, uniform.median(dim=1).values, 1.0).unsqueeze(1)
        other = torch.randperm(clips, device=device, generator=generator)
        lengths = torch.where(mixed, torch.maximum(lengths, lengths[other]), lengths)
        return lam * waveform + (1 - lam) * waveform[other], lengths, lam * targets + (1 - lam) * targets[other]


class Overlay(nn.Module):
    """Make scenes on the fly: move each clip within its crop, change its level, and lay others of its batch over it.

    A scene has the labels of all clips in it; the number of clips is drawn evenly from 1 to ``max_events``.

    Args:
        max_events: most clips in a scene.
        level_db: levels are drawn evenly from ±level_db, in dB.
        shift: probability of moving a clip to a random onset; otherwise it starts at 0.

    Shape:
        waveform: (B, T).
        lengths: (B,).
        targets: (B, S).
        returns: the three, of the scenes.

    Raises:
        ValueError: if ``max_events`` is below 1.
    """

    def __init__(self, max_events: int = 3, level_db: float = 10.0, shift: float = 0.5) -> None:
        super().__init__()
        if max_events < 1:
            raise ValueError(f"expected max_events of at least 1, got {max_events}")
        self.max_events = max_events
        self.level_db = level_db
        self.shift = shift

    def forward(
        self, waveform: Tensor, lengths: Tensor, targets: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mix a batch into as many scenes."""
        clips, samples = waveform.shape
        device = waveform.device
        time = torch.arange(samples, device=device)
        count = torch.randint(1, self.max_events + 1, (clips, 1), device=device, generator=generator)
        scene, scene_lengths, scene_targets = map(torch.zeros_like, (waveform, lengths, targets))
        for event in range(self.max_events):
            other = torch.randperm(clips, device=device, generator=generator)
            if event == 0:
                other = torch.arange(clips, device=device)
            draw = torch.rand(3, clips, 1, device=device, generator=generator)
            room = (samples - lengths[other]).unsqueeze(1)
            onset = torch.where(draw[0] < self.shift, draw[1] * room, 0.0).long()
            gain = 10 ** (self.level_db * (2 * draw[2] - 1) / 20) * (event < count)
            source = time - onset
            moved = waveform[other].gather(1, source.clamp(min=0)) * (source >= 0)
            scene = scene + gain * moved
            end = torch.where(event < count, onset + lengths[other].unsqueeze(1), 0).squeeze(1)
            scene_lengths = torch.maximum(scene_lengths, end)
            scene_targets = torch.maximum(scene_targets, targets[other] * (event < count))
        return scene, scene_lengths, scene_targets


class Speed(nn.Module):
    """Play each clip faster or slower, pitch and all, by linear interpolation.

    Args:
        change: factors are drawn evenly from 1 ± change.

    Shape:
        waveform: (B, T).
        lengths: (B,).
        returns: the two; a slower clip is cut at T, a faster one ends sooner.

    Raises:
        ValueError: if ``change`` is not in 0 … 1.

    Source: Ko et al., "Audio Augmentation for Speech Recognition", Interspeech 2015.
    """

    def __init__(self, change: float = 0.1) -> None:
        super().__init__()
        if not 0 <= change < 1:
            raise ValueError(f"expected a change of speed in 0 … 1, got {change}")
        self.change = change

    def forward(self, waveform: Tensor, lengths: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Change the speed of a batch."""
        draw = torch.rand(waveform.size(0), device=waveform.device, generator=generator)
        return change_speed(waveform, lengths, 1 + self.change * (2 * draw - 1))


def change_speed(waveform: Tensor, lengths: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Play each clip ``factor`` times as fast, pitch and all, by linear interpolation.

    Shape:
        waveform: (B, T).
        lengths: (B,).
        factor: (B,).
        returns: the first two; a slower clip is cut at T, a faster one ends sooner.
    """
    time = torch.arange(waveform.size(1), device=waveform.device)
    place = time * factor.unsqueeze(1)
    before = place.long().clamp(max=waveform.size(1) - 1)
    after = (before + 1).clamp(max=waveform.size(1) - 1)
    lengths = (lengths / factor).long().clamp(min=1, max=waveform.size(1))
    played = torch.lerp(waveform.gather(1, before), waveform.gather(1, after), place - before)
    return played * (time < lengths.unsqueeze(1)), lengths


class SpecMask(nn.Module):
    """Blank one band of frequencies and one stretch of time of each log-mel (SpecAugment), with zeros.

    Args:
        freq: widest band, in mel bins.
        time: longest stretch, in frames.

    Shape:
        log_mel: (B, 1, F, L), not yet normalised.
        returns: (B, 1, F, L).

    Source: Park et al., "SpecAugment", Interspeech 2019.
    """

    def __init__(self, freq: int = 48, time: int = 192) -> None:
        super().__init__()
        self.freq = freq
        self.time = time

    def forward(self, log_mel: Tensor, generator: Generator) -> Tensor:
        """Mask a batch."""
        band = self._mask(log_mel, 2, self.freq, generator).unsqueeze(-1)
        stretch = self._mask(log_mel, 3, self.time, generator).unsqueeze(-2)
        return log_mel.masked_fill((band | stretch).unsqueeze(1), 0.0)

    @staticmethod
    def _mask(log_mel: Tensor, dim: int, widest: int, generator: Generator) -> Tensor:
        size = log_mel.size(dim)
        draw = torch.rand(2, log_mel.size(0), 1, device=log_mel.device, generator=generator)
        width = draw[0] * min(widest, size)
        start = (draw[1] * (size - width)).floor()
        place = torch.arange(size, device=log_mel.device)
        return (place >= start) & (place < start + width.floor())
