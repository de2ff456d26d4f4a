"""Shards of noise, which any run can read at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from atgnn.audio.files import encode_flac
from atgnn.data.archive import Sample, write_split


def _write_noise(root: Path, clips: dict[str, int]) -> Path:
    """Write so many clips of a fifth of a second for each split, five to a shard, with labels in turn."""
    generator = torch.Generator().manual_seed(0)
    root.mkdir(exist_ok=True)
    for split, number in clips.items():
        samples = [
            Sample(
                f"{split}-{n}",
                encode_flac(0.3 * torch.randn(3200, generator=generator), 16000),
                {"labels": ["abc"[n % 3]], "duration": 0.2, "source": ""},
            )
            for n in range(number)
        ]
        write_split(root / split, samples, sample_rate=16000, labels=list("abc"), clips_per_shard=5, recipe={})
    return root


@pytest.fixture(scope="session")
def write_noise() -> Callable[[Path, dict[str, int]], Path]:
    return _write_noise
