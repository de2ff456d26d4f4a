from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor, nn

from atgnn.audio.augment import Mixup, Overlay, SpecMask, Speed


def generator(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def clips(number: int, samples: int = 20, longest: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Clips of ones of random length, zeros behind; each has a label of its own."""
    lengths = torch.randint(1, longest + 1, (number,))
    waveform = (torch.arange(samples) < lengths[:, None]).float()
    return waveform, lengths, torch.eye(number)


@pytest.mark.parametrize("alpha", [1, 10])
def test_mixing_weights_are_beta_distributed(alpha: int) -> None:
    number = 2000
    _, _, targets = Mixup(1.0, alpha)(torch.zeros(number, 1), torch.ones(number), torch.eye(number), generator())
    lam = targets.diag()
    assert lam.mean().item() == pytest.approx(0.5, abs=0.02)
    assert lam.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)
    torch.testing.assert_close(targets.sum(1), torch.ones(number))
    assert (targets > 0).sum(1).max() == 2


def test_waveforms_and_targets_are_mixed_alike() -> None:
    waveform = torch.eye(50)
    mixed, _, targets = Mixup(0.5)(waveform, torch.ones(50), waveform.clone(), generator())
    torch.testing.assert_close(mixed, targets)


def test_a_mixed_clip_is_as_long_as_the_longer_one() -> None:
    waveform, lengths, targets = clips(50)
    mixed, mixed_lengths, mixed_targets = Mixup(0.5)(waveform, lengths, targets, generator())
    for row, length, target in zip(mixed, mixed_lengths, mixed_targets, strict=True):
        assert length == lengths[target > 0].max()
        assert row.nonzero().max() == length - 1


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_a_clip_is_mixed_with_the_given_probability(p: float) -> None:
    number = 1000
    _, _, targets = Mixup(p)(torch.zeros(number, 1), torch.ones(number), torch.eye(number), generator())
    assert (targets.diag() < 1).float().mean().item() == pytest.approx(p, abs=0.05)


def test_no_mixing_leaves_a_batch_as_it_is() -> None:
    batch = clips(20)
    for before, after in zip(batch, Mixup(0.0)(*batch, generator()), strict=True):
        assert torch.equal(before, after)


def test_scenes_have_the_labels_and_length_of_their_clips() -> None:
    waveform, lengths, targets = clips(8)
    values = 4.0 ** torch.arange(8)  # as digits of base 4, they tell which clips are in a sum of up to three
    overlay = Overlay(max_events=3, level_db=0.0, shift=0.0)
    counts = []
    for seed in range(20):
        scenes, scene_lengths, scene_targets = overlay(waveform * values[:, None], lengths, targets, generator(seed))
        digits = scenes[:, :1].div(values, rounding_mode="floor") % 4
        counts += digits.sum(1).tolist()
        assert torch.equal(scene_targets, (digits > 0).float())
        assert torch.equal(scene_lengths, torch.where(digits > 0, lengths, 0).amax(1))
        assert scene_targets.diag().all()
    assert set(counts) == {1, 2, 3}
    assert min(counts.count(n) for n in (1, 2, 3)) > 30  # of 160, drawn evenly


def test_levels_are_drawn_evenly_in_db() -> None:
    waveform, lengths, targets = clips(2000)
    scenes, _, _ = Overlay(max_events=1, level_db=10.0, shift=0.0)(waveform, lengths, targets, generator())
    level = 20 * scenes[:, 0].log10()
    assert -10 <= level.min() < -9.9
    assert 9.9 < level.max() <= 10
    assert level.mean().item() == pytest.approx(0, abs=0.5)
    assert level.var().item() == pytest.approx(20**2 / 12, rel=0.1)


def test_moved_clips_stay_whole_within_the_crop() -> None:
    waveform, lengths, targets = clips(500, samples=20, longest=20)
    waveform = waveform * torch.arange(1, 21)
    scenes, ends, _ = Overlay(max_events=1, level_db=0.0, shift=1.0)(waveform, lengths, targets, generator())
    onsets = ends - lengths
    assert onsets.min() == 0
    for scene, clip, onset, end, length in zip(scenes, waveform, onsets, ends, lengths, strict=True):
        assert end <= 20
        assert torch.equal(scene[onset:end], clip[:length])
        assert not scene[:onset].any()
        assert not scene[end:].any()
    short = onsets[lengths == 1]
    assert short.min() < 4
    assert short.max() > 14


@pytest.mark.parametrize("layer", [Mixup(), Overlay(shift=0.5)])
def test_waveform_augmentation_follows_its_generator(layer: nn.Module) -> None:
    batch = clips(16)
    first, again, other = (layer(*batch, generator(seed)) for seed in (1, 1, 2))
    for a, b, c in zip(first, again, other, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


@pytest.mark.parametrize(("freq", "time"), [(8, 16), (8, 0), (0, 16), (100, 200)])
def test_masks_blank_one_band_and_one_stretch(freq: int, time: int) -> None:
    log_mel = 1 + torch.rand(200, 1, 32, 64)
    masked = SpecMask(freq, time)(log_mel, generator())
    blank = (masked == 0).squeeze(1)
    bands, stretches = blank.all(2), blank.all(1)
    assert torch.equal(blank, bands[:, :, None] | stretches[:, None, :])
    assert torch.equal(masked[masked != 0], log_mel[masked != 0])
    for places, widest in ((bands, min(freq, 32)), (stretches, min(time, 64))):
        assert 0.8 * widest <= places.sum(1).max() <= widest
        assert (places.long().diff(dim=1) == 1).sum(1).max() <= 1  # in one piece


def test_masks_follow_their_generator() -> None:
    log_mel = torch.ones(8, 1, 32, 64)
    first, again, other = (SpecMask(8, 16)(log_mel, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len({tuple(row.tolist()) for row in (first[:, 0] == 0).flatten(1)}) > 4  # clips differ


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mixup(alpha=0), "expected a whole alpha of at least 1, got 0"),
        (lambda: Mixup(alpha=0.5), "expected a whole alpha of at least 1, got 0.5"),
        (lambda: Overlay(max_events=0), "expected max_events of at least 1, got 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_faster_clip_is_higher_and_shorter() -> None:
    time = torch.arange(16000) / 16000
    waveform = (torch.sin(2 * torch.pi * 500 * time) * (time < 0.5)).repeat(20, 1)
    played, lengths = Speed(0.3)(waveform, torch.full((20,), 8000), generator())
    factor = 8000 / lengths
    assert factor.min() < 0.8
    assert factor.max() > 1.2
    for row, length, f in zip(played, lengths, factor, strict=True):
        spectrum = torch.fft.rfft(row[:length] * torch.hann_window(int(length)), n=64000).abs()
        assert spectrum.argmax().item() / 4 == pytest.approx(500 * f.item(), rel=0.01)
        assert not row[length:].any()
        assert row[length - 50 : length].any()


def test_no_change_of_speed_is_the_identity() -> None:
    waveform, lengths, _ = clips(8)
    played, played_lengths = Speed(0.0)(waveform, lengths, generator())
    assert torch.equal(played, waveform)
    assert torch.equal(played_lengths, lengths)


def test_a_slower_clip_is_cut_at_the_crop() -> None:
    played, lengths = Speed(0.5)(torch.ones(50, 10), torch.full((50,), 10), generator())
    assert lengths.max() == 10
    assert lengths.min() >= 10 / 1.5 - 1
    assert torch.equal(played, (torch.arange(10) < lengths[:, None]).float())


@pytest.mark.parametrize("change", [-0.1, 1.0])
def test_impossible_changes_of_speed(change: float) -> None:
    with pytest.raises(ValueError, match="expected a change of speed in 0 … 1"):
        Speed(change)
