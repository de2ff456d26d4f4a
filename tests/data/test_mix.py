from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from atgnn.audio.files import read_audio
from atgnn.data.archive import Sample, read_shard
from atgnn.data.check import check_shards
from atgnn.data.index import read_index
from atgnn.data.mix import mix_shards
from atgnn.data.shards import write_shards
from atgnn.errors import InputError

CLIPS = [["a"]] * 8 + [["b"], ["c", "a"], [], []]


def scenes_of(directory: Path) -> list[Sample]:
    return [sample for shard in read_index(directory).shards for sample in read_shard(directory, shard)]


def test_scenes_hold_the_union_of_their_events(write_clips: Callable[..., Path], tmp_path: Path) -> None:
    shards = write_clips({"train": CLIPS, "val": CLIPS}, seconds=0.1)
    report = mix_shards(shards, tmp_path / "out", scenes={"train": 30, "val": 5}, duration=0.5, distractors=0.3)
    assert [split.clips for split in report.splits] == [30, 5]
    check_shards(tmp_path / "out")
    counts = Counter[int]()
    for scene in scenes_of(tmp_path / "out" / "train"):
        events = scene.meta["events"]
        counts[len(events)] += 1
        assert scene.meta["labels"] == sorted({label for event in events for label in event["labels"]}) != []
        assert all(event["key"].startswith("train-") for event in events)
        assert len({event["key"] for event in events}) == len(events)
        assert [event["onset"] for event in events] == sorted(event["onset"] for event in events)
        for event in events:
            assert 0 <= event["onset"] < event["offset"] <= 0.5
            assert event["offset"] - event["onset"] == pytest.approx(0.1, abs=2e-6)
            assert -12 <= event["level_db"] <= 0
        waveform = read_audio(io.BytesIO(scene.flac), 16000)
        assert waveform.shape == (8000,)
        heard = torch.zeros(8000, dtype=torch.bool)
        for event in events:
            heard[round(event["onset"] * 16000) : round(event["offset"] * 16000)] = True
        assert waveform[~heard].abs().max() == 0
    assert set(counts) == {2, 3, 4}


def test_one_seed_gives_one_set_of_bytes(write_clips: Callable[..., Path], tmp_path: Path) -> None:
    shards = write_clips({"train": CLIPS}, seconds=0.1)
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        mix_shards(shards, tmp_path / name, scenes={"train": 6}, duration=0.3, seed=seed, clips_per_shard=4)
    one, two, other = ([p.read_bytes() for p in sorted((tmp_path / n).rglob("*.*"))] for n in ("one", "two", "other"))
    assert one == two
    assert one[0] != other[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scenes": {}}, "expected a positive number of scenes for some splits"),
        ({"scenes": {"train": 0}}, "expected a positive number of scenes for some splits"),
        ({"scenes": {"dev": 1}}, "expected one of the splits empty, train, got dev"),
        ({"scenes": {"empty": 1}}, "expected labelled clips, got none in split 'empty'; leave it out of --scenes"),
        ({"events_min": 3, "events_max": 2}, "expected 1 ≤ events_min ≤ events_max, got 3 and 2"),
        ({"level_min_db": 3.0}, "expected level_min_db ≤ level_max_db, got 3.0 and 0.0"),
        ({"distractors": 1.0}, "expected distractors from 0 to below 1"),
        ({"duration": 0.0}, "expected a positive duration"),
        ({"speed": {"train": 1.0}}, "expected speed from 0 to below 1"),
        ({"speed": {"dev": 0.1}}, "expected speed from 0 to below 1 for some of"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    write_clips: Callable[..., Path], tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    shards = write_clips({"train": CLIPS, "empty": [[]]})
    with pytest.raises(InputError, match=message):
        mix_shards(shards, tmp_path / "out", **({"scenes": {"train": 2}} | options))
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]


def test_real_recordings(tmp_path: Path) -> None:
    write_shards(Path(__file__).parents[2] / "data" / "mini", tmp_path / "mini")
    report = mix_shards(tmp_path / "mini", tmp_path / "scenes", scenes={"train": 20}, duration=2.0)
    assert min(report.splits[0].label_counts) > 0
    check_shards(tmp_path / "scenes")


def test_companions_come_together_and_are_in_the_recipe(write_clips: Callable[..., Path], tmp_path: Path) -> None:
    shards = write_clips({"train": [["a"]] * 3 + [["b"]] * 3 + [["c"]] * 3}, seconds=0.1)
    options = {"scenes": {"train": 40}, "duration": 0.5}
    mix_shards(shards, tmp_path / "free", **options)
    mix_shards(shards, tmp_path / "planted", **options, companions={"a": "b"})
    both = {
        kind: sum({"a", "b"} <= set(scene.meta["labels"]) for scene in scenes_of(tmp_path / kind / "train"))
        / sum("a" in scene.meta["labels"] for scene in scenes_of(tmp_path / kind / "train"))
        for kind in ("free", "planted")
    }
    assert both["planted"] > both["free"] + 0.1
    assert read_index(tmp_path / "planted" / "train").recipe["companions"] == {"a": "b"}
    assert "companions" not in read_index(tmp_path / "free" / "train").recipe
