"""``atgnn shards mix``: polyphonic scenes out of single events, with the time and level of each event known."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from atgnn.audio.files import encode_flac, read_audio
from atgnn.data.archive import Sample, new_directory, read_shard, write_split
from atgnn.data.index import ShardReport, SplitIndex, read_splits
from atgnn.data.labels import Vocabulary
from atgnn.errors import InputError

EVENT_RMS = 0.1
PEAK = 0.99
FADE_SECONDS = 0.005


def mix_shards(
    shards: Path,
    out: Path,
    *,
    scenes: dict[str, int],
    duration: float = 10.0,
    events_min: int = 2,
    events_max: int = 4,
    level_min_db: float = -12.0,
    level_max_db: float = 0.0,
    distractors: float = 0.1,
    seed: int = 0,
    clips_per_shard: int = 256,
    overwrite: bool = False,
) -> ShardReport:
    """Mix the clips of each split into scenes of several events; the same seed gives the same bytes.

    A label is drawn first, then a clip that carries it, so that rare labels come as often as common ones. The labels
    of a scene are those of its events; when each begins and ends, and how loud it is, is kept beside the sound.

    Args:
        shards: shards of single events.
        out: folder to make.
        scenes: how many scenes to make of each split, as in '{train: 600, val: 100, test: 200}'.
        duration: length of a scene in seconds; longer clips are cut at a random place.
        events_min: fewest events in a scene.
        events_max: most events in a scene.
        level_min_db: level of the faintest events, in dB.
        level_max_db: level of the loudest events, in dB.
        distractors: share of events taken from clips without a label, where the split has some.
        seed: of every draw.
        clips_per_shard: scenes in one tar file.
        overwrite: replace shards that are there.

    Raises:
        InputError: if the shards or an option cannot be used, or a split has no labelled clip.
    """
    shards, out = Path(shards), Path(out)
    if not 1 <= events_min <= events_max:
        raise InputError(f"expected 1 ≤ events_min ≤ events_max, got {events_min} and {events_max}; correct them")
    if not level_min_db <= level_max_db:
        raise InputError(f"expected level_min_db ≤ level_max_db, got {level_min_db} and {level_max_db}; correct them")
    if not 0 <= distractors < 1:
        raise InputError(f"expected distractors from 0 to below 1, got {distractors}; give a share of the events")
    if not scenes or min(scenes.values()) < 1:
        raise InputError(f"expected a positive number of scenes for some splits, got {scenes}; give --scenes")
    splits = read_splits(shards, list(scenes))
    style = SceneStyle(
        round(duration * splits[0].sample_rate), events_min, events_max, level_min_db, level_max_db, distractors
    )
    if style.samples < 1 or clips_per_shard < 1:
        raise InputError(
            f"expected a positive duration and clips_per_shard, got {duration} and {clips_per_shard}; correct them"
        )
    recipe = {"made": "mix", "seed": seed, "from": {split.name: split.digest for split in splits}}
    with new_directory(out, overwrite) as unfinished:
        for split in splits:
            write_split(
                unfinished / split.name,
                _scenes(EventPool(split), style, scenes[split.name], seed),
                sample_rate=split.sample_rate,
                labels=split.labels,
                clips_per_shard=clips_per_shard,
                recipe=recipe,
            )
    return ShardReport(out, read_splits(out, list(scenes)))


class Event(TypedDict):
    """One event of a scene, times in seconds."""

    key: str
    labels: list[str]
    onset: float
    offset: float
    level_db: float


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
    """

    samples: int
    events_min: int = 2
    events_max: int = 4
    level_min_db: float = -12.0
    level_max_db: float = 0.0
    distractors: float = 0.1


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

    def draw(self, rng: Generator, events: int, distractors: float) -> list[Sample]:
        """Draw different clips, the first of them labelled; fewer where the split has fewer."""
        drawn: dict[int, None] = {}
        for _ in range(10 * events):
            unlabelled = drawn and self._unlabelled and rng.random() < distractors
            clips = self._unlabelled if unlabelled else self._carriers[rng.integers(len(self._carriers))]
            drawn[clips[rng.integers(len(clips))]] = None
            if len(drawn) == events:
                break
        return [self._samples[n] for n in drawn]


def mix_scene(pool: EventPool, style: SceneStyle, rng: Generator) -> tuple[Tensor, list[Event]]:
    """Mix one scene.

    Args:
        pool: clips to draw from.
        style: what the scene is like.
        rng: source of every choice.

    Shape:
        returns: (T,) within ±1, and for each event its key, labels, onset and offset in seconds, and level_db.
    """
    scene = torch.zeros(style.samples)
    events: list[Event] = []
    count = int(rng.integers(style.events_min, style.events_max + 1))
    for sample in pool.draw(rng, count, style.distractors):
        event = _cut(
            read_audio(io.BytesIO(sample.flac), pool.sample_rate, name=sample.key),
            style.samples,
            rng,
            round(FADE_SECONDS * pool.sample_rate),
        )
        level_db = round(float(rng.uniform(style.level_min_db, style.level_max_db)), 2)
        onset = int(rng.integers(style.samples - len(event) + 1))
        rms = event.square().mean().sqrt().clamp(min=1e-6)
        scene[onset : onset + len(event)] += event * (EVENT_RMS / rms * 10 ** (level_db / 20))
        events.append(
            Event(
                key=sample.key,
                labels=sample.meta["labels"],
                onset=round(onset / pool.sample_rate, 6),
                offset=round((onset + len(event)) / pool.sample_rate, 6),
                level_db=level_db,
            )
        )
    # One factor for the whole scene keeps the levels of its events as they were drawn.
    return scene * (PEAK / scene.abs().max().clamp(min=PEAK)), sorted(events, key=_onset)


def _scenes(pool: EventPool, style: SceneStyle, count: int, seed: int) -> Iterator[Sample]:
    for number in range(count):
        # Seeded one by one: a scene is the same however many come before it.
        rng = np.random.default_rng([seed, zlib.crc32(pool.name.encode()), number])
        scene, events = mix_scene(pool, style, rng)
        heard = pool.vocabulary.indices((label for event in events for label in event["labels"]), pool.name)
        meta = {
            "labels": [pool.vocabulary.labels[i] for i in heard],
            "duration": style.samples / pool.sample_rate,
            "source": "mix",
            "events": events,
        }
        yield Sample(f"{pool.name}-{number:06d}", encode_flac(scene, pool.sample_rate), meta)


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
