"""Recordings by files, folders, patterns, shards and standard input."""

import functools
import http.server
import io
import sys
import tarfile
import threading

import pytest
import soundfile
import torch

from atgnn.audio.files import encode_flac, read_audio
from atgnn.errors import InputError
from atgnn.inference.sources import find_recordings


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("a.wav", "deep/b.flac", "deep/er/c.ogg"):
        soundfile.write(tmp_path / name, torch.zeros(100).numpy(), 16000)
    (tmp_path / "notes.txt").write_text("no sound")
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name, data in (("x.flac", encode_flac(torch.zeros(10), 16000)), ("x.json", b"{}")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return tmp_path


def names(*given):
    return [name.rpartition("/")[2] for name, _ in find_recordings([str(one) for one in given])]


def test_folders_patterns_files_and_shards(folder):
    assert names(folder) == ["a.wav", "b.flac", "c.ogg"]
    assert names(folder / "**" / "*.ogg", folder / "a.wav") == ["c.ogg", "a.wav"]
    ((name, file),) = find_recordings([str(folder / "s.tar")])
    assert name.endswith("s.tar/x.flac")
    assert read_audio(file, 16000).shape == (10,)


def test_a_shard_on_the_web(folder):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        assert names(address + "s.tar") == ["x.flac"]
        with pytest.raises(InputError, match=r"expected a shard at .*absent\.tar"):
            names(address + "absent.tar")
        server.shutdown()


def test_standard_input(folder, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((folder / "a.wav").read_bytes())))
    for name, file in find_recordings(["-"]):
        assert name == "-"
        assert read_audio(file, 16000).shape == (100,)


def test_nothing_to_tag(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.tar").write_text("no tar")
    for given in (tmp_path / "empty", tmp_path / "*.mp3"):
        with pytest.raises(InputError, match="expected recordings in"):
            names(given)
    with pytest.raises(InputError, match=r"expected a shard at .*bad\.tar"):
        names(tmp_path / "bad.tar")
