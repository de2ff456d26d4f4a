"""Shards at an address: fetched when they are first read, tried again where that fails, kept and verified here."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import fsspec
from filelock import FileLock
from fsspec.callbacks import Callback

from atgnn.data.archive import file_digest
from atgnn.data.index import MAX_BYTES, Shard, SplitIndex
from atgnn.errors import InputError

TRIES = 6
FIRST_WAIT = 1.0
"""Seconds after the first failure; twice as long after each further one, and drawn, so that ranks come apart."""
STALL = 30.0
"""Seconds without a byte after which a connection counts as lost."""


def is_address(shards: str) -> bool:
    """Whether shards lie at an address, on any file system that fsspec knows: https://…, s3://…, gs://…."""
    return "://" in shards


def fetch_indices(address: str, names: Iterable[str], cache_dir: Path) -> Path:
    """Fetch the indices of some splits into a folder that stands for the address; those it lacks are left out.

    Args:
        address: folder of the splits.
        names: of the splits.
        cache_dir: where the folder is made.

    Raises:
        InputError: if the address cannot be read, or has none of them.
    """
    folder = cache_dir.expanduser() / hashlib.sha256(address.encode()).hexdigest()[:16]
    absent = []
    for name in names:
        path = folder / name / "index.json"
        try:
            _fetch(f"{address}/{name}/index.json", path, MAX_BYTES)
        except FileNotFoundError:
            path.unlink(missing_ok=True)
            absent.append(name)
    if not any(folder.glob("*/index.json")):
        raise InputError(
            f"expected shards at '{address}', got no index.json of {', '.join(absent) or 'any split'}; "
            "correct the address or the names of the splits"
        )
    return folder


def fetch_shard(split: SplitIndex, shard: Shard) -> None:
    """Have a shard beside its index, whole and as the index says; looked at once by every process.

    Raises:
        InputError: if it cannot be fetched.
    """
    url, path = f"{split.address}/{split.name}/{shard.name}", split.directory / shard.name
    try:
        _have(url, path, shard.bytes, shard.sha256)
    except FileNotFoundError as error:
        raise InputError(f"expected a shard at '{url}', got none; copy it there") from error


@cache
def _have(url: str, path: Path, size: int, sha256: str) -> None:
    with FileLock(path.with_suffix(".lock")):  # the ranks and workers of a machine fetch it once
        if not (path.is_file() and path.stat().st_size == size and file_digest(path) == sha256):
            _fetch(url, path, size, sha256)


def _fetch(url: str, path: Path, limit: int, sha256: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{random.getrandbits(32):08x}.tmp")
    wait, failure = FIRST_WAIT, ""
    for _ in range(TRIES):
        try:
            _file_system(url).get_file(url, str(unfinished), callback=_Bound(limit))
            if sha256 is None or (got := file_digest(unfinished)) == sha256:
                unfinished.replace(path)
                return
            failure = f"{unfinished.stat().st_size} bytes of SHA-256 {got[:8]}…, not {limit} of {sha256[:8]}…"
        except (FileNotFoundError, InputError):
            raise
        except Exception as error:  # every file system has errors of its own
            failure = f"{type(error).__name__}: {error}"
        finally:
            unfinished.unlink(missing_ok=True)
        time.sleep(wait * random.uniform(0.5, 1))
        wait *= 2
    raise InputError(f"expected to read '{url}', got {TRIES} failures (the last: {failure}); look at the server")


def _file_system(url: str) -> Any:
    scheme = url.partition("://")[0]
    options: dict[str, Any] = {}
    if scheme in ("http", "https"):
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=STALL, sock_read=STALL)
        options = {"client_kwargs": {"timeout": timeout, "trust_env": True}}
    try:
        return fsspec.filesystem(scheme, **options)
    except (ImportError, ValueError) as error:
        raise InputError(f"expected an address like https:// or s3://, got '{url}' ({error})") from error


class _Bound(Callback):
    """Ends a transfer of more than ``limit`` bytes: what a server sends has no end of its own."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def call(self, *_: object, **__: object) -> None:
        """Look at the bytes that have come."""
        if self.value > self.limit:
            raise OSError(f"more than {self.limit} bytes came")
