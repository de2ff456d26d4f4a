"""`atgnn tag`: tags of files as a table, JSON, CSV and picture."""

import csv
import io
import json
import sys

import lightning as L
import numpy as np
import pytest
import soundfile
import torch

from atgnn import ATGNN
from atgnn.errors import InputError
from atgnn.inference.report import tag

LABELS = ["Dog", "Whoosh, swoosh", "Rain"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    model = ATGNN(LABELS, "pyramid-nano", n_mels=32, clip_seconds=0.5)
    trainer = L.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(model)
    path = tmp_path_factory.mktemp("run") / "best.ckpt"
    trainer.save_checkpoint(path)
    return path


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / "one.wav", tmp_path / "two.flac"]
    for path in paths:
        soundfile.write(path, 0.1 * rng.standard_normal(20000), 16000)
    return paths


def test_json_holds_the_top_tags(checkpoint, files, capsys):
    tag(files, checkpoint=checkpoint, top=2, format="json")
    found = json.loads(capsys.readouterr().out)
    assert list(found) == [str(path) for path in files]
    for tags in found.values():
        assert len(tags) == 2
        assert tags[0]["score"] >= tags[1]["score"]
        assert {t["label"] for t in tags} <= set(LABELS)


def test_csv_quotes_labels(checkpoint, files, capsys):
    tag(files, checkpoint=checkpoint, top=3, format="csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 6
    assert {row["label"] for row in rows} == set(LABELS)


def test_threshold_and_time_line(checkpoint, files, tmp_path):
    tag(files, checkpoint=checkpoint, threshold=0.0, format="json", timeline=True, top=1, out=tmp_path / "a.json")
    for tags in json.loads((tmp_path / "a.json").read_text()).values():
        assert [(t["start"], t["end"]) for t in tags] == [(0, 1.25)]
    tag(files, checkpoint=checkpoint, threshold=0.6, format="json", out=tmp_path / "b.json")
    assert all(t["score"] >= 0.6 for tags in json.loads((tmp_path / "b.json").read_text()).values() for t in tags)
    tag(files[:1], checkpoint=checkpoint, threshold=0.0, format="audacity", out=tmp_path / "c.txt")
    assert len((tmp_path / "c.txt").read_text().splitlines()) == 3


def test_bundled_network_says_what_it_knows(files, capsys):
    tag(files[:1])
    said = capsys.readouterr()
    assert "bundled network" in said.err
    assert "Bass drum" in said.err
    assert "one.wav" in said.out


def test_picture(checkpoint, files, tmp_path):
    tag(files, checkpoint=checkpoint, picture=tmp_path / "out" / "one.png")
    assert (tmp_path / "out" / "one.png").read_bytes().startswith(b"\x89PNG")


def test_a_bad_file_does_not_lose_the_good_ones(checkpoint, files, tmp_path, capsys):
    (tmp_path / "broken.wav").write_text("no sound")
    with pytest.raises(InputError, match=r"1 of 3 recordings not tagged: .*broken\.wav"):
        tag([files[0], tmp_path / "broken.wav", files[1]], checkpoint=checkpoint)
    printed = capsys.readouterr().out
    assert "one.wav" in printed
    assert "two.flac" in printed


def test_what_parquet_needs_is_asked_for_first(checkpoint, files, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"pip install 'atgnn\[parquet\]'"):
        tag(files, checkpoint=checkpoint, format="parquet", out=tmp_path / "a.parquet")
    assert not (tmp_path / "a.parquet").exists()


@pytest.mark.parametrize("options", [{"top": 0}, {"batch_size": 0}, {"threshold": 1.5}, {"threshold": -0.1}])
def test_bad_options(checkpoint, files, options):
    with pytest.raises(InputError, match="expected --top"):
        tag(files, checkpoint=checkpoint, **options)
