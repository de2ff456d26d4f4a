"""``atgnn shards mix``: polyphonic scenes out of single events, with the time and level of each event known."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from atgnn.audio.files import encode_flac
from atgnn.data.archive import Sample, new_directory, write_split
from atgnn.data.index import ShardReport, read_splits
from atgnn.data.scenes import EventPool, SceneStyle, mix_scene
from atgnn.errors import InputError


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
    speed: dict[str, float] | None = None,
    companions: dict[str, str] | None = None,
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
        speed: by how much events of a split are played faster or slower, pitch and all, as in '{train: 0.2}'.
        companions: labels that an event of another one follows, as in '{Rain: Thunder}'.
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
    if not all(0 <= change < 1 for change in (speed or {}).values()) or set(speed or {}) - set(scenes):
        raise InputError(f"expected speed from 0 to below 1 for some of {sorted(scenes)}, got {speed}; correct it")
    splits = read_splits(shards, list(scenes))
    style = SceneStyle(
        round(duration * splits[0].sample_rate),
        events_min,
        events_max,
        level_min_db,
        level_max_db,
        distractors,
        companions=companions or {},
    )
    if style.samples < 1 or clips_per_shard < 1:
        raise InputError(
            f"expected a positive duration and clips_per_shard, got {duration} and {clips_per_shard}; correct them"
        )
    recipe = {"made": "mix", "seed": seed, "speed": speed or {}, "from": {split.name: split.digest for split in splits}}
    if companions:
        recipe["companions"] = companions
    with new_directory(out, overwrite) as unfinished:
        for split in splits:
            write_split(
                unfinished / split.name,
                _scenes(
                    EventPool(split), replace(style, speed=(speed or {}).get(split.name, 0.0)), scenes[split.name], seed
                ),
                sample_rate=split.sample_rate,
                labels=split.labels,
                clips_per_shard=clips_per_shard,
                recipe=recipe,
            )
    return ShardReport(out, read_splits(out, list(scenes)))


def _scenes(pool: EventPool, style: SceneStyle, count: int, seed: int) -> Iterator[Sample]:
    for number in range(count):
        scene, events = mix_scene(pool, style, scene_rng(seed, pool.name, number))
        heard = pool.vocabulary.indices((label for event in events for label in event["labels"]), pool.name)
        meta = {
            "labels": [pool.vocabulary.labels[i] for i in heard],
            "duration": style.samples / pool.sample_rate,
            "source": "mix",
            "events": events,
        }
        yield Sample(f"{pool.name}-{number:06d}", encode_flac(scene, pool.sample_rate), meta)


def scene_rng(seed: int, split: str, number: int) -> np.random.Generator:
    """Seeded one by one: a scene is the same however many come before it."""
    return np.random.default_rng([seed, zlib.crc32(split.encode()), number])
