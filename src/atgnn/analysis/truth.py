"""Scenes in which it is known which event is behind every patch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from atgnn.audio.frontend import LogMel
from atgnn.data.index import read_splits
from atgnn.data.mix import scene_rng
from atgnn.data.scenes import Event, EventPool, SceneStyle, place_events

#: A cell belongs to nobody where less is heard than this, against the loudest cell of the scene.
FLOOR_DB = -50.0


@dataclass(frozen=True)
class KnownScene:
    """A scene and its events, each alone.

    Args:
        log_mel: (1, 1, F, L), not normalised.
        power: (events, F, L), the mel power of each event.
        events: their labels, onsets and so on.
    """

    log_mel: Tensor
    power: Tensor
    events: list[Event]

    def heard(self, cell: int) -> Tensor:
        """Which event has more than half the power of each cell of cell×cell bins and frames: (H·W,), −1 for none."""
        power = F.avg_pool2d(self.power, cell, ceil_mode=True).flatten(1)
        whole = power.sum(0)
        share, event = (power / whole.clamp(min=torch.finfo(power.dtype).tiny)).max(0)
        return torch.where((share > 0.5) & (whole > whole.max() * 10 ** (FLOOR_DB / 10)), event, -1)

    def labels(self) -> list[str]:
        """Labels of its events, each once."""
        return list(dict.fromkeys(label for event in self.events for label in event["labels"]))


def known_scenes(
    clips: Path, frontend: LogMel, *, split: str = "test", scenes: int = 20, seconds: float = 4.0, seed: int = 0
) -> Iterator[KnownScene]:
    """Mix scenes as ``atgnn shards mix`` with its defaults does, and keep what each event alone sounds like.

    Args:
        clips: shards of single events.
        frontend: of the model that will hear them.
        split: split of the events.
        scenes: how many to mix.
        seconds: length of a scene.
        seed: of every draw.

    Raises:
        InputError: if the shards cannot be used.
    """
    (index,) = read_splits(Path(clips), [split])
    pool, style = EventPool(index), SceneStyle(round(seconds * index.sample_rate))
    for number in range(scenes):
        sounds, events = place_events(pool, style, scene_rng(seed, split, number))
        power = frontend(sounds).squeeze(1)
        power = torch.where(power == 0, 0.0, power.exp())  # past the last frame the log-mel is zero
        yield KnownScene(frontend(sounds.sum(0, keepdim=True)), power, events)


def mean_over(parts: list[dict[str, float]]) -> dict[str, float]:
    """Mean of every measure over the scenes that have it."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: float(np.nanmean([part.get(name, np.nan) for part in parts])) for name in names}
