"""One polyphonic scene: events drawn label first, placed, levelled and summed."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from atgnn.data.archive import Sample, read_shard
from atgnn.data.index import SplitIndex
from atgnn.data.labels import Vocabulary
from atgnn.errors import InputError

EVENT_RMS = 0.1
PEAK = 0.99
FADE_SECONDS = 0.005


class Event(TypedDict):
    """One event of a scene, times in seconds."""

    key: str
    labels: list[str]
    onset: float
    offset: float
    level_db: float
    speed: float


@dataclass(frozen=True, slots=True)
class SceneStyle:
    """What scenes are like.

    Attributes:
        samples: length of a scene.
        events_min: fewest events.
        events_max: most events.
        level_min_db: level of the faintest events.
        level_max_db: level of the loudest events.
        distractors: probability that an event is a clip without a label.
        speed: events are played faster or slower by up to this share, pitch and all.
        companions: labels, and the label that the next event after each has.
    """

    samples: int
    events_min: int = 2
    events_max: int = 4
    level_min_db: float = -12.0
    level_max_db: float = 0.0
    distractors: float = 0.1
    speed: float = 0.0
    companions: Mapping[str, str] = field(default_factory=dict)


class EventPool:
    """The clips of a split in memory, still encoded, to be drawn label first.

    Args:
        split: index of single-event clips.

    Raises:
        InputError: if a shard is damaged or no clip has a label.
    """

    def __init__(self, split: SplitIndex) -> None:
        self.name = split.name
        self.sample_rate = split.sample_rate
        self.vocabulary = Vocabulary(split.labels)
        self._samples = [sample for shard in split.shards for sample in read_shard(split.directory, shard)]
        targets = [labels for shard in split.shards for labels in shard.targets]
        carriers = [[n for n, labels in enumerate(targets) if i in labels] for i in range(len(split.labels))]
        self._carriers = [clips for clips in carriers if clips]
        self._unlabelled = [n for n, labels in enumerate(targets) if not labels]
        if not self._carriers:
            raise InputError(f"expected labelled clips, got none in split '{split.name}'; leave it out of --scenes")

    def draw(
        self, rng: Generator, events: int, distractors: float, companions: Mapping[str, str] | None = None
    ) -> list[Sample]:
        """Draw different clips, the first of them labelled, companions next; fewer where the split has fewer."""
        drawn: dict[int, None] = {}
        due: list[list[int]] = []
        for _ in range(10 * events):
            if due:
                clips = due.pop()
            else:
                unlabelled = drawn and self._unlabelled and rng.random() < distractors
                clips = self._unlabelled if unlabelled else self._carriers[rng.integers(len(self._carriers))]
            clip = clips[rng.integers(len(clips))]
            if companions and clip not in drawn:
                due = [
                    self._with(companions[name]) for name in self._samples[clip].meta["labels"] if name in companions
                ]
            drawn[clip] = None
            if len(drawn) == events:
                break
        return [self._samples[n] for n in drawn]

    def _with(self, label: str) -> list[int]:
        clips = [n for n, sample in enumerate(self._samples) if label in sample.meta["labels"]]
        if not clips:
            raise InputError(
                f"expected clips of the companion '{label}' in split '{self.name}', got none; name another"
            )
        return clips


def mix_scene(pool: EventPool, style: SceneStyle, rng: Generator) -> tuple[Tensor, list[Event]]:
    """Mix one scene.

    Args:
        pool: clips to draw from.
        style: what the scene is like.
        rng: source of every choice.

    Shape:
        returns: (T,) within ±1, and for each event its key, labels, onset and offset in seconds, level_db and speed.
    """
    sounds, events = place_events(pool, style, rng)
    scene = functools.reduce(torch.add, sounds)
    # One factor for the whole scene keeps the levels of its events as they were drawn.
    return scene * (PEAK / scene.abs().max().clamp(min=PEAK)), sorted(events, key=_onset)


def place_events(pool: EventPool, style: SceneStyle, rng: Generator) -> tuple[Tensor, list[Event]]:
    """The events of a scene as they are drawn, and each of them alone, in its place and at its level: (events, T)."""
    sounds: list[Tensor] = []
    events: list[Event] = []
    count = int(rng.integers(style.events_min, style.events_max + 1))
    for sample in pool.draw(rng, count, style.distractors, style.companions):
        speed = round(float(rng.uniform(1 - style.speed, 1 + style.speed)), 3) if style.speed else 1.0
        event = _play(sample.waveform(pool.sample_rate), speed)
        event = _cut(event, style.samples, rng, round(FADE_SECONDS * pool.sample_rate))
        level_db = round(float(rng.uniform(style.level_min_db, style.level_max_db)), 2)
        onset = int(rng.integers(style.samples - len(event) + 1))
        rms = event.square().mean().sqrt().clamp(min=1e-6)
        event = event * (EVENT_RMS / rms * 10 ** (level_db / 20))
        sounds.append(F.pad(event, (onset, style.samples - onset - len(event))))
        events.append(
            Event(
                key=sample.key,
                labels=sample.meta["labels"],
                onset=round(onset / pool.sample_rate, 6),
                offset=round((onset + len(event)) / pool.sample_rate, 6),
                level_db=level_db,
                speed=speed,
            )
        )
    return torch.stack(sounds), events


def _play(event: Tensor, speed: float) -> Tensor:
    if speed == 1.0:
        return event
    return F.interpolate(event.view(1, 1, -1), size=max(1, round(len(event) / speed)), mode="linear").flatten()


def _cut(event: Tensor, samples: int, rng: Generator, fade: int) -> Tensor:
    if len(event) <= samples:
        return event
    start = int(rng.integers(len(event) - samples + 1))
    event = event[start : start + samples].clone()
    # Without a fade the cut would be heard as a click, which is a sound of its own.
    fade = min(fade, samples // 2)
    ramp = torch.linspace(0, 1, fade)
    event[:fade] *= ramp
    event[samples - fade :] *= ramp.flip(0)
    return event


def _onset(event: Event) -> float:
    return event["onset"]
