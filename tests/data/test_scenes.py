from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from atgnn.data.index import read_index
from atgnn.data.scenes import EventPool, SceneStyle, mix_scene, place_events
from atgnn.errors import InputError

CLIPS = [["a"]] * 8 + [["b"], ["c", "a"], [], []]


def test_labels_come_equally_often(write_clips: Callable[..., Path]) -> None:
    pool = EventPool(read_index(write_clips({"train": CLIPS}) / "train"))
    rng = np.random.default_rng(0)
    drawn = Counter(tuple(s.meta["labels"]) for _ in range(600) for s in pool.draw(rng, 1, distractors=0.5))
    # 'a' is 9 of 10 labelled clips, and yet one draw in three aims at each label; the first event has a label.
    assert drawn[("b",)] / drawn.total() == pytest.approx(1 / 3, abs=0.06)
    assert () not in drawn
    drawn = Counter(tuple(s.meta["labels"]) for _ in range(300) for s in pool.draw(rng, 2, distractors=0.5)[1:])
    assert drawn[()] / drawn.total() == pytest.approx(0.5, abs=0.1)
    assert len(pool.draw(rng, 100, distractors=0.5)) <= 12


def test_levels_are_kept_and_peaks_are_safe(write_clips: Callable[..., Path]) -> None:
    pool = EventPool(read_index(write_clips({"train": [["a"], ["b"]]}, seconds=0.5, first=0) / "train"))
    # Clip 0 is silence: its event must not turn into noise or NaN. Clip 1 is constant, so its level can be read off.
    style = SceneStyle(16000, 2, 2, level_min_db=-6, level_max_db=-6)
    scene, events = mix_scene(pool, style, np.random.default_rng(0))
    assert [event["level_db"] for event in events] == [-6, -6]
    assert scene.abs().max().item() == pytest.approx(0.1 * 10 ** (-6 / 20), rel=1e-3)
    style = SceneStyle(16000, 2, 2, level_min_db=40, level_max_db=40)
    assert mix_scene(pool, style, np.random.default_rng(0))[0].abs().max().item() == pytest.approx(0.99)


def test_long_clips_are_cut_at_random(write_clips: Callable[..., Path]) -> None:
    pool = EventPool(read_index(write_clips({"train": [["a"], ["b"]]}, seconds=0.5) / "train"))
    scene, events = mix_scene(pool, SceneStyle(1600), np.random.default_rng(0))
    assert scene.shape == (1600,)
    assert all((event["onset"], event["offset"]) == (0, 0.1) for event in events)
    assert scene[0] == 0 == scene[-1]


def test_events_change_their_speed(write_clips: Callable[..., Path]) -> None:
    pool = EventPool(read_index(write_clips({"train": [["a"], ["b"]]}, seconds=0.2) / "train"))
    rng = np.random.default_rng(0)
    events = [event for _ in range(20) for event in mix_scene(pool, SceneStyle(16000, speed=0.25), rng)[1]]
    for event in events:
        assert event["offset"] - event["onset"] == pytest.approx(0.2 / event["speed"], abs=1e-3)
    assert min(event["speed"] for event in events) < 0.85
    assert max(event["speed"] for event in events) > 1.15
    _, events = mix_scene(pool, SceneStyle(16000), rng)
    assert [event["speed"] for event in events] == [1.0] * len(events)


def test_a_scene_is_the_sum_of_its_events(write_clips: Callable[..., Path]) -> None:
    pool = EventPool(read_index(write_clips({"train": [["a"], ["b"]]}, seconds=0.2, first=1) / "train"))
    style = SceneStyle(16000, 2, 2)
    sounds, events = place_events(pool, style, np.random.default_rng(3))
    scene, known = mix_scene(pool, style, np.random.default_rng(3))
    assert sorted(events, key=lambda event: event["onset"]) == known
    for sound, event in zip(sounds, events, strict=True):
        inside = slice(round(event["onset"] * 16000), round(event["offset"] * 16000))
        assert sound[inside].square().mean().sqrt().item() == pytest.approx(0.1 * 10 ** (event["level_db"] / 20))
        assert sound[: inside.start].abs().sum() + sound[inside.stop :].abs().sum() == 0
    torch.testing.assert_close(scene, sounds[0] + sounds[1])


def test_companions_follow_and_are_looked_for_in_vain(write_clips: Callable[..., Path]) -> None:
    clips = [["a"]] * 3 + [["b"]] * 3 + [["c"]] * 3
    pool = EventPool(read_index(write_clips({"train": clips}) / "train"))
    drawn = [
        [sample.meta["labels"][0] for sample in pool.draw(np.random.default_rng(seed), 3, 0.0, {"a": "b"})]
        for seed in range(40)
    ]
    followed = ["".join(scene) for scene in drawn if "a" in scene[:2]]
    assert len(followed) > 10
    assert all("b" in scene for scene in followed)
    assert any("ca" in scene for scene in followed)
    with pytest.raises(InputError, match="expected clips of the companion 'd' in split 'train', got none"):
        pool.draw(np.random.default_rng(0), 9, 0.0, {"a": "d"})
