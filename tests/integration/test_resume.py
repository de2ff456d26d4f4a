"""A run that is killed and resumed sees the clips, and ends with the weights, of one that is not.

``ATGNN_KILLS=20 pytest tests/integration/test_resume.py -s`` kills at so many random moments.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("train_once.py")
KILLS = int(os.environ.get("ATGNN_KILLS", "3"))
BATCHES = 33  # 23 clips in pairs, three epochs

equal: list[int] = []

pytestmark = pytest.mark.slow


def start(shards: Path, folder: Path, workers: int, *resume: str, **environment: str) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(SCRIPT), str(shards), str(folder), str(workers), *resume]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()
    assert "not resumable" not in said.decode()


def lines(folder: Path) -> list[str]:
    path = folder / "keys.txt"
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, write_noise: Callable[..., Path]) -> Path:
    return write_noise(tmp_path_factory.mktemp("shards"), {"train": 23, "val": 3})


@pytest.fixture(scope="module")
def unbroken(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folders = {}
    for workers in (0, 2):
        folders[workers] = tmp_path_factory.mktemp("unbroken") / str(workers)
        finish(start(shards, folders[workers], workers))
        assert len(lines(folders[workers])) == BATCHES
    return folders


def check_equal(folder: Path, whole: Path, killed: list[str]) -> None:
    expected, seen = lines(whole), lines(folder)[len(killed) :]
    assert killed == expected[: len(killed)]
    assert seen == expected[BATCHES - len(seen) :]
    assert BATCHES - len(seen) <= len(killed)  # nothing is left out
    final, again = (torch.load(path / "final.pt", weights_only=True) for path in (whole, folder))
    assert all(torch.equal(final[name], again[name]) for name in final)


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_run_ends_like_an_unbroken_one(
    shards: Path, unbroken: dict[int, Path], tmp_path: Path, number: int, figure: Callable[..., None]
) -> None:
    rng = random.Random(number)
    workers, moment = rng.choice((0, 2)), rng.randint(0, BATCHES - 1)
    process = start(shards, tmp_path / "run", workers)
    while len(lines(tmp_path / "run")) < moment and process.poll() is None:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.3 if moment else 6))  # within a step, a checkpoint, a validation or the start
    process.send_signal(signal.SIGKILL)
    process.communicate()
    killed = lines(tmp_path / "run")
    last = tmp_path / "run" / "last.ckpt"
    finish(start(shards, tmp_path / "run", workers, *([str(last)] if last.exists() else [])))
    check_equal(tmp_path / "run", unbroken[workers], killed)
    equal.append(number)
    if number == KILLS - 1:
        figure("kills", f"{len(equal)} of {KILLS} random moments: the same clips, the same weights")


def test_sigterm_saves_before_it_exits(shards: Path, unbroken: dict[int, Path], tmp_path: Path) -> None:
    process = start(shards, tmp_path / "run", 2)
    while len(lines(tmp_path / "run")) < 16 and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    killed = lines(tmp_path / "run")
    last = tmp_path / "run" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == len(killed) < BATCHES
    finish(start(shards, tmp_path / "run", 2, str(last)))
    check_equal(tmp_path / "run", unbroken[2], killed)


def slurm_job(folder: Path) -> tuple[dict[str, str], Path]:
    """The environment of a job, with a scontrol that writes down what it is asked, and where it writes that."""
    (folder / "bin").mkdir()
    scontrol, asked = folder / "bin" / "scontrol", folder / "asked"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >{asked}\n')
    scontrol.chmod(0o755)
    job = {"SLURM_NTASKS": "1", "SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "atgnn", "SLURM_PROCID": "0",
           "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "PATH": f"{scontrol.parent}:{os.environ['PATH']}"}  # fmt: skip
    return job, asked


@pytest.mark.parametrize("moment", ["at_any_moment", "in_a_step"])
def test_slurm_starts_a_job_again_that_it_ends(
    shards: Path, unbroken: dict[int, Path], tmp_path: Path, moment: str
) -> None:
    """By its signal before the end."""
    job, asked = slurm_job(tmp_path)
    if moment == "in_a_step":
        process = start(shards, tmp_path / "run", 2, **job, IN_STEP="17")
    else:
        process = start(shards, tmp_path / "run", 2, **job)
        while len(lines(tmp_path / "run")) < 16 and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGUSR1)
    while not asked.exists() and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert asked.read_text() == "requeue 77\n"
    killed = lines(tmp_path / "run")
    assert len(killed) < BATCHES
    finish(start(shards, tmp_path / "run", 2, **job))  # no path is given: it is found
    check_equal(tmp_path / "run", unbroken[2], killed)


def test_the_ranks_of_a_job_save_after_the_same_batch(shards: Path, tmp_path: Path) -> None:
    """Though only one of them gets the signal."""
    job, asked = slurm_job(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    job |= {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    other = job | {"SLURM_PROCID": "1", "SLURM_LOCALID": "1"}
    ranks = [
        start(shards, tmp_path / "run", 0, **job, IN_STEP="99"),
        start(shards, tmp_path / "run", 0, **other, IN_STEP="7"),
    ]
    while not asked.exists() and all(rank.poll() is None for rank in ranks):
        time.sleep(0.002)
    for rank in ranks:
        rank.kill()
        rank.communicate(timeout=60)
    assert asked.read_text() == "requeue 77\n"
    saved = torch.load(tmp_path / "run" / "hpc_ckpt_1.ckpt", weights_only=True)
    assert (saved["global_step"], saved["ShardDataModule"]["batches"]) == (8, 3)  # of 5 in an epoch


def test_other_workers_midway_are_refused(shards: Path, tmp_path: Path) -> None:
    process = start(shards, tmp_path / "run", 0)
    while len(lines(tmp_path / "run")) < 16 and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    again = start(shards, tmp_path / "run", 2, str(tmp_path / "run" / "last.ckpt"))
    _, said = again.communicate(timeout=60)
    assert b"resume with the same shards, batch size, seed, ranks and workers" in said
