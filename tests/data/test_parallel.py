from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from atgnn.data.parallel import in_parallel
from atgnn.data.shards import write_shards
from atgnn.errors import InputError


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_order(jobs: int) -> None:
    assert in_parallel(abs, [-3, 2, -1], "counting", jobs=jobs) == [3, 2, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jobs": 0}, "expected jobs of at least 1, got 0"),
        ({"engine": "ray"}, "expected an engine like dask://HOST:PORT, got 'ray'"),
        ({"engine": "dask://"}, "expected an engine like dask://HOST:PORT"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        in_parallel(abs, [1], "counting", **options)  # type: ignore[arg-type]


def test_an_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        InputError, match="expected the package distributed for --engine dask://, got none; pip install"
    ):
        in_parallel(abs, [1], "counting", engine="dask://127.0.0.1:1")


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_writes_the_same_bytes(
    write_manifest: Callable[..., Path], tmp_path: Path, figure: Callable[..., None]
) -> None:
    distributed = pytest.importorskip("distributed")
    shards = 60
    manifest = write_manifest([{"file": f"{n}.wav", "labels": "ab"[n % 2], "split": "train"} for n in range(shards)])
    write_shards(manifest, tmp_path / "here", clips_per_shard=1)
    notes = tmp_path / "there.part" / "train"
    killed: list[int] = []

    def kill_one(pid: int) -> None:
        while len(list(notes.glob("*.json"))) < 5:
            time.sleep(0.001)
        os.kill(pid, signal.SIGKILL)
        killed.append(len(list(notes.glob("*.json"))))

    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        victim = threading.Thread(target=kill_one, args=(cluster.workers[1].pid,), daemon=True)
        victim.start()
        engine = cluster.scheduler_address.replace("tcp://", "dask://")
        write_shards(manifest, tmp_path / "there", clips_per_shard=1, engine=engine)
    assert 5 <= killed[0] < shards
    here, there = ({p.name: p.read_bytes() for p in (tmp_path / n).rglob("*.*")} for n in ("here", "there"))
    assert len(here) == shards + 1
    assert here == there
    figure("dask", f"the same bytes, a worker killed after {killed[0]} of {shards} shards")


@pytest.mark.slow
def test_no_cluster_there() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match=r"expected a Dask scheduler at '127\.0\.0\.1:1', got none; start one"):
        in_parallel(abs, [1], "counting", engine="dask://127.0.0.1:1")
