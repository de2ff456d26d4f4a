"""What is measured is what happened: ratios, parts, computation, memory, growth."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from atgnn.analysis.measure import PARTS, exponent, multiply_adds, parts, peak_memory, ratio, times, waveforms
from atgnn.audio.frontend import LogMel
from atgnn.network import ATGNNNetwork
from atgnn.nn.linear import Linear


def test_calls_take_turns_and_slow_ones_take_longer() -> None:
    order: list[str] = []

    def call(name: str, seconds: float) -> None:
        order.append(name)
        time.sleep(seconds)

    found = times({"slow": partial(call, "slow", 0.03), "fast": partial(call, "fast", 0.01)}, rounds=3, threads=1)
    assert order[-6:] == ["slow", "fast"] * 3
    assert found["slow"].shape == (3,)
    assert (found["slow"] >= 0.03).all()
    median, low, high = ratio(found["slow"], found["fast"])
    assert low <= median <= high
    assert 1.5 < found["slow"].min() / found["fast"].min() < 3.1


def test_a_ratio_is_the_median_of_pairs() -> None:
    assert ratio(np.array([2.0, 8.0, 3.0]), np.array([1.0, 2.0, 3.0])) == (2.0, 1.5, 3.0)


def test_parts_add_up_to_the_whole() -> None:
    network, frontend = ATGNNNetwork(5, "pyramid-nano", n_mels=32, n_frames=100).eval(), LogMel(n_mels=32)
    waveform = waveforms(1, 16000)
    before = LogMel.forward
    with torch.inference_mode():
        start = time.perf_counter()
        found = parts(lambda: network(frontend(waveform)), rounds=3)
        whole = time.perf_counter() - start
    assert [*found] == [*PARTS, "dense layers"]
    assert all(seconds > 0 for seconds in found.values())
    assert sum(found.values()) < whole
    assert LogMel.forward is before, "nothing stays wrapped"


def test_multiply_adds_by_hand() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), Linear(2 * 4 * 5, 7))
    assert multiply_adds(network, torch.zeros(3, 1, 4, 5)) == 3 * (4 * 5 * 2 * 9 + 40 * 7)


def allocate(megabytes: int) -> Callable[[], object]:
    def call() -> int:
        return torch.ones(megabytes * 2**18).add_(1).numel()  # four bytes each, and gone when it returns

    return call


@pytest.mark.slow
def test_memory_is_what_a_call_needs_at_its_peak() -> None:
    found = peak_memory(allocate, 300)
    assert found["tensors"] == pytest.approx(300 * 2**20, rel=1e-3)
    assert found["process"] == pytest.approx(300 * 2**20, rel=0.1)


def test_an_exponent_is_that_of_the_longer_half() -> None:
    sizes = [1.0, 2.0, 4.0, 8.0, 16.0]
    assert exponent(sizes, [1.0, 1.0, 3 * 16.0, 3 * 64.0, 3 * 256.0]) == pytest.approx(2)
