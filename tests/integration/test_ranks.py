"""Two processes train and score as one does: by Lightning's launcher and by torchrun, with and without label graph."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

SCRIPT = Path(__file__).with_name("train_ranks.py")
TRAIN: dict[str, Any] = runpy.run_path(str(SCRIPT))
LAUNCHERS = {
    "lightning": [sys.executable],
    "torchrun": [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"],
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, write_noise: Callable[..., Path]) -> Path:
    """Numbers of clips that two ranks cannot share evenly."""
    return write_noise(tmp_path_factory.mktemp("ranks") / "shards", {"train": 29, "val": 13, "test": 7})


def run(launcher: list[str], shards: Path, out: Path, devices: int, accelerator: str, *more: str) -> str:
    out.mkdir()
    command = [*launcher, str(SCRIPT), str(shards), str(out), str(devices), accelerator, *more]
    process = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stderr


@pytest.fixture(scope="module")
def alone(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "1"
    run([sys.executable], shards, out, 1, "cpu")
    return out


def joined_gradient(case: str, ranks: list[Any], batch_norm: bool = False) -> dict[str, torch.Tensor]:
    """Of the first step, in this process alone, over the batches of all ranks together; batch norm is frozen or not."""
    model = TRAIN["model"](list("abc"), case).train()
    TRAIN["Frozen"](*([] if batch_norm else TRAIN["BATCH_NORM"])).on_train_batch_start(None, model)
    batch = {
        name: torch.cat([rank["batches"][0][name] for rank in ranks]) for name in ("waveform", "lengths", "targets")
    }
    assert len(batch["waveform"]) == 8
    F.binary_cross_entropy_with_logits(model(batch["waveform"], batch["lengths"]), batch["targets"]).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_two_ranks_are_as_one(
    shards: Path, alone: Path, tmp_path: Path, launcher: str, figure: Callable[..., None]
) -> None:
    said = run(LAUNCHERS[launcher], shards, tmp_path / "2", 2, "cpu")
    assert "find_unused_parameters" not in said
    for case in TRAIN["CASES"]:
        one = torch.load(alone / f"{case}-0.pt")
        ranks = [torch.load(tmp_path / "2" / f"{case}-{rank}.pt") for rank in range(2)]
        seen = [key for rank in ranks for batch in rank["batches"] for key in batch["key"]]
        assert len(seen) == len(set(seen)) == 24
        expected = joined_gradient(case, ranks)
        for rank in ranks:
            assert rank["gradients"][0].keys() == expected.keys()
            for name, gradient in expected.items():
                shared = rank["gradients"][0][name]
                assert (shared - gradient).abs().max() <= 1e-5 * gradient.abs().max(), name
            assert rank["metrics"] == pytest.approx(one["metrics"], rel=1e-5)
            assert rank["metrics"].keys() >= {"val/loss", "val/mAP", "test/mAP", "test/lwlrap"}
        assert all(torch.equal(value, ranks[1]["final"][name]) for name, value in ranks[0]["final"].items())
    figure(f"ranks-{launcher}", "gradients to 1e-5 of their maximum, metrics to 1e-5, with and without label graph")
