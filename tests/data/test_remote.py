"""Shards come whole over HTTP from a server that drops connections, stalls and sends other bytes than it should."""

from __future__ import annotations

import http.server
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from atgnn.data import remote
from atgnn.data.datamodule import ShardDataModule
from atgnn.errors import InputError

CLIPS = [["a"], ["a", "c"], [], ["c"], ["b"]] * 2


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder; ``plan`` says for a file name what goes wrong with its first answers."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.asked = folder, Counter[str]()
        self.plan: dict[str, list[str]] = {}
        self.address = f"http://127.0.0.1:{self.server_port}/shards"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.server.folder / self.path.lstrip("/")
        self.server.asked[path.name] += 1
        plan = self.server.plan.get(path.name, [])
        fault = plan.pop(0) if plan else ""
        if not path.is_file() or fault.isdigit():
            self.send_error(int(fault or 404))
            return
        body = path.read_bytes()
        sent = {"short": body[:-600], "changed": body[:-1] + b"!", "endless": body * 50}.get(fault, body)
        self.send_response(200)
        if fault not in ("endless", "unannounced"):
            self.send_header("Content-Length", str(len(sent)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if fault in ("drop", "stall", "unannounced"):
            sent = sent[: len(sent) // 2]
            self.close_connection = True
        try:
            self.wfile.write(sent)
            if fault == "stall":
                self.wfile.flush()
                time.sleep(1.5)
        except OSError:
            self.close_connection = True  # the client has had enough

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(write_clips: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(remote, "STALL", 0.3)
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.01)
    remote._have.cache_clear()
    fsspec.filesystem("http").clear_instance_cache()
    with Server(write_clips({"train": CLIPS, "val": CLIPS[:5]}).parent) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


def module(address: str, cache: Path, **options: object) -> ShardDataModule:
    return ShardDataModule(address, batch_size=5, crop_seconds=0.01, test=None, cache_dir=str(cache), **options)  # type: ignore[arg-type]


def keys(data: ShardDataModule) -> list[str]:
    return sorted(key for batch in data.train_dataloader() for key in batch["key"])


ALL = [f"train-{n:04d}" for n in range(10)]
FAULTS = ["drop", "stall", "short", "changed", "unannounced", "endless", "503", "429"]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_fails_twice_is_fetched_the_third_time(server: Server, tmp_path: Path, fault: str) -> None:
    wrong = "index.json" if fault in ("drop", "stall", "503") else "000001.tar"
    server.plan = {wrong: [fault, fault], "000002.tar": [fault]}
    data = module(server.address, tmp_path / "cache", val=None)
    assert keys(data) == ALL
    assert server.asked == Counter({"index.json": 1, "000000.tar": 1, "000001.tar": 1, "000002.tar": 2}) + Counter(
        {wrong: 2}
    )
    assert list((tmp_path / "cache").rglob("*.tmp")) == []
    for path in (tmp_path / "cache").rglob("train/*.tar"):
        assert path.read_bytes() == (tmp_path / "shards" / "train" / path.name).read_bytes()


def test_what_is_here_is_not_fetched_again_unless_it_is_damaged(server: Server, tmp_path: Path) -> None:
    assert keys(module(f"{server.address}/", tmp_path)) == ALL
    asked = server.asked.copy()
    remote._have.cache_clear()  # as in another process
    data = module(server.address, tmp_path)
    assert keys(data) == ALL == keys(data)
    assert server.asked - asked == Counter({"index.json": 2})
    kept = next(path for path in tmp_path.rglob("train/000001.tar") if tmp_path / "shards" not in path.parents)
    for damage in (kept.read_bytes()[:-600], kept.read_bytes().replace(b"fLaC", b"XXXX")):
        kept.write_bytes(damage)
        remote._have.cache_clear()
        asked = server.asked.copy()
        assert keys(module(server.address, tmp_path)) == ALL
        assert server.asked - asked == Counter({"index.json": 2, "000001.tar": 1})


@pytest.mark.slow
def test_workers_fetch_each_shard_once(server: Server, tmp_path: Path) -> None:
    server.plan = {f"{number:06d}.tar": ["drop"] for number in range(3)}
    assert keys(module(server.address, tmp_path, workers=2, val=None)) == ALL
    assert server.asked == {"index.json": 1, **{f"{number:06d}.tar": 2 for number in range(3)}}


def test_a_shard_that_never_comes_is_left_out_and_counted(server: Server, tmp_path: Path) -> None:
    server.plan = {"000001.tar": ["drop"] * remote.TRIES}
    with pytest.raises(
        InputError, match=r"got 4 shard .*expected to read 'http://.*/train/000001\.tar', got 6 failures"
    ):
        keys(module(server.address, tmp_path, val=None, max_bad_fraction=0.3))
    server.plan = {"000001.tar": ["404"]}
    with pytest.raises(InputError, match=r"expected a shard at 'http://.*/train/000001\.tar', got none; copy it"):
        keys(module(server.address, tmp_path, val=None))


def test_what_is_no_address_of_shards_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=re.escape("got no index.json of dev; correct the address or the names")):
        module(server.address, tmp_path, train="dev", val=None)
    assert module(server.address, tmp_path, val="dev").labels == [
        "a",
        "b",
        "c",
    ]  # absent splits fail when they are read
    with pytest.raises(InputError, match=r"expected an address like https:// or s3://, got 'pipe://date/train/index"):
        module("pipe://date", tmp_path)
    monkeypatch.setattr(remote, "TRIES", 2)
    with pytest.raises(InputError, match=r"expected to read 'http://127\.0\.0\.1:9/train/index\.json', got 2 failures"):
        module("http://127.0.0.1:9", tmp_path)


def test_other_file_systems_are_read_alike(write_clips: Callable[..., Path], tmp_path: Path) -> None:
    """Object stores have fsspec's interface: its own in memory stands for them."""
    memory = fsspec.filesystem("memory")
    memory.put(str(write_clips({"train": CLIPS})), "/bucket/", recursive=True)
    data = module("memory://bucket/shards", tmp_path / "cache", val=None)
    assert keys(data) == ALL
    memory.rm("/bucket", recursive=True)
    assert keys(data) == ALL
