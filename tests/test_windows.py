"""Windows: half-overlapping, every sample heard, a batch the same as a loop over its clips."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atgnn.windows import Windows, tag_windows, window_places


@pytest.mark.parametrize(
    ("count", "starts"),
    [
        (1, [0]),
        (7, [0]),
        (8, [0]),
        (9, [0, 1]),
        (12, [0, 4]),
        (15, [0, 4, 7]),
        (20, [0, 4, 8, 12]),
    ],
)
def test_windows_cover_every_sample(count: int, starts: list[int]) -> None:
    clip, start = window_places(torch.tensor([count]), 8)
    assert start.tolist() == starts
    assert clip.tolist() == [0] * len(starts)
    assert {s + n for s in starts for n in range(8) if s + n < count} == set(range(count))


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_places_of_a_batch_are_those_of_its_clips(size: int) -> None:
    lengths = torch.tensor([9, 1, 20, 8, 3])
    clip, start = window_places(lengths, size)
    for number, length in enumerate(lengths):
        assert start[clip == number].tolist() == window_places(length[None], size)[1].tolist()
    assert clip.tolist() == sorted(clip.tolist())


def heard(waveform: Tensor, lengths: Tensor) -> Tensor:
    """Two logits: the sum of a window, and minus the samples inside it."""
    assert len(waveform) <= 3, "more windows at a time than asked for"
    inside = torch.arange(waveform.size(1)) < lengths[:, None]
    assert not waveform[~inside].any()
    return torch.stack((waveform.sum(1), -lengths.float()), dim=1)


def test_a_label_is_heard_as_well_as_in_its_best_window() -> None:
    # Windows of 4 at 0, 2 and 3 of the first clip, one of the second.
    waveform = torch.tensor([[1.0, 1, 0, 5, 0, 0, 2], [1, 2, 0, 0, 0, 0, 0]])
    windows = tag_windows(heard, waveform, torch.tensor([7, 2]), size=4, batch_size=3)
    assert windows.clip.tolist() == [0, 0, 0, 1]
    assert windows.start.tolist() == [0, 2, 3, 0]
    assert windows.logits.tolist() == [[7, -4], [5, -4], [7, -4], [3, -2]]
    assert windows.pooled().tolist() == [[7, -4], [3, -2]]


def test_clips_shorter_than_a_window_are_padded_to_it() -> None:
    windows = tag_windows(heard, torch.tensor([[1.0, 2]]), torch.tensor([2]), size=4, batch_size=1)
    assert windows.logits.tolist() == [[3, -2]]


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_a_batch_is_a_loop_over_its_clips(batch_size: int) -> None:
    lengths = torch.tensor([30, 3, 17, 8])
    waveform = torch.randn(4, 30) * (torch.arange(30) < lengths[:, None])
    together = tag_windows(heard, waveform, lengths, 8, batch_size).pooled()
    alone = [tag_windows(heard, w[None, :n], n[None], 8, 3).pooled() for w, n in zip(waveform, lengths, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_pooling_keeps_the_order_of_clips() -> None:
    windows = Windows(torch.tensor([[1.0], [9], [4], [2]]), torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 0, 0]))
    assert windows.pooled().tolist() == [[9], [4], [2]]
