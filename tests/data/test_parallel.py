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
        ({"engine": "spark"}, "expected an engine like dask://HOST:PORT or ray, got 'spark'"),
        ({"engine": "dask://"}, "expected an engine like dask://HOST:PORT"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        in_parallel(abs, [1], "counting", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("package", "engine"), [("distributed", "dask://127.0.0.1:1"), ("ray", "ray")])
def test_an_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, package: str, engine: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=f"expected the package {package} for --engine {engine}, got none; pip"):
        in_parallel(abs, [1], "counting", engine=engine)


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
def test_ray_writes_the_same_bytes(write_manifest: Callable[..., Path], tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="ray (260 MB) is not installed")
    manifest = write_manifest([{"file": f"{n}.wav", "labels": "ab"[n % 2], "split": "train"} for n in range(9)])
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False)
    try:
        write_shards(manifest, tmp_path / "there", clips_per_shard=2, engine="ray")
    finally:
        ray.shutdown()
    write_shards(manifest, tmp_path / "here", clips_per_shard=2)
    here, there = ({p.name: p.read_bytes() for p in (tmp_path / n).rglob("*.*")} for n in ("here", "there"))
    assert len(here) == 6
    assert here == there


@pytest.mark.slow
def test_no_cluster_there() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match=r"expected a Dask scheduler at '127\.0\.0\.1:1', got none; start one"):
        in_parallel(abs, [1], "counting", engine="dask://127.0.0.1:1")
