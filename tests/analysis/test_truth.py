"""Scenes of which it is known which event is behind every patch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from atgnn.analysis.truth import KnownScene, known_scenes, mean_over
from atgnn.audio.files import read_audio
from atgnn.audio.frontend import LogMel
from atgnn.data.archive import read_shard
from atgnn.data.index import read_index
from atgnn.data.mix import mix_shards
from atgnn.data.shards import write_shards


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    out = tmp_path_factory.mktemp("truth") / "clips"
    write_shards(request.config.rootpath / "data" / "mini", out)
    return out


def test_cells_belong_to_the_event_that_is_loudest_in_them() -> None:
    power = torch.zeros(2, 2, 4)
    power[0, :, :2] = torch.tensor([[4.0, 4], [4, 0]])
    power[1, :, 1:3] = torch.tensor([[1.0, 1e-4], [1, 1e-4]])
    scene = KnownScene(torch.zeros(1, 1, 2, 4), power, [])
    assert scene.heard(1).tolist() == [0, 0, 1, -1, 0, 1, 1, -1]
    assert scene.heard(2).tolist() == [0, 1]
    power[1, 0, 2] = 1e-9  # 97 dB below the loudest
    assert scene.heard(1).tolist()[2] == -1


def test_a_cell_of_equal_shares_belongs_to_nobody() -> None:
    scene = KnownScene(torch.zeros(1, 1, 1, 1), torch.ones(2, 1, 1), [])
    assert scene.heard(1).tolist() == [-1]


def test_cells_fit_the_grid_of_the_network_where_it_is_not_whole() -> None:
    assert len(KnownScene(torch.zeros(1, 1, 10, 13), torch.rand(2, 10, 13), []).heard(4)) == 3 * 4


def test_scenes_are_those_of_shards_mix(clips: Path, tmp_path: Path) -> None:
    mix_shards(clips, tmp_path / "scenes", scenes={"test": 2}, duration=2.0)
    index = read_index(tmp_path / "scenes" / "test")
    frontend = LogMel(n_mels=16)
    for sample, scene in zip(
        read_shard(index.directory, index.shards[0]), known_scenes(clips, frontend, scenes=2, seconds=2.0), strict=True
    ):
        assert sorted(scene.events, key=lambda event: event["onset"]) == sample.meta["events"]
        assert set(scene.labels()) >= set(sample.meta["labels"])
        path = tmp_path / "scene.flac"
        path.write_bytes(sample.flac)
        heard = frontend(read_audio(path, 16000)[None])
        loud = heard > heard.max() - 10
        torch.testing.assert_close(scene.log_mel[loud], heard[loud], atol=0.2, rtol=0)


def test_an_event_has_power_only_while_it_sounds(clips: Path) -> None:
    for scene in known_scenes(clips, LogMel(n_mels=16), scenes=3, seconds=2.0):
        for power, event in zip(scene.power, scene.events, strict=True):
            frames = power.sum(0)
            start, end = int(event["onset"] * 100), int(event["offset"] * 100)
            assert frames[: max(0, start - 3)].sum() < 1e-2
            assert frames[end + 1 :].sum() < 1e-2
            assert frames[start:end].sum() > 1


def test_a_measure_is_averaged_over_the_scenes_that_have_it() -> None:
    assert mean_over([{"a": 1.0, "b": 2.0}, {"a": 3.0}]) == {"a": 2.0, "b": 2.0}
