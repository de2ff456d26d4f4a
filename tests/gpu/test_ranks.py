"""Two GPUs with NCCL and synchronised batch norm train as one process with the joined batch."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

RANKS: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[1] / "integration" / "test_ranks.py"))
shards = RANKS["shards"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="NCCL and SyncBatchNorm need two GPUs"),
]


def test_two_gpus_are_as_one_process(shards: Path, tmp_path: Path) -> None:
    RANKS["run"]([sys.executable], shards, tmp_path / "2", 2, "gpu", "sync")
    for case in RANKS["TRAIN"]["CASES"]:
        ranks = [torch.load(tmp_path / "2" / f"{case}-{rank}.pt") for rank in range(2)]
        expected = RANKS["joined_gradient"](case, ranks, batch_norm=True)
        for rank in ranks:
            for name, gradient in expected.items():
                shared = rank["gradients"][0][name]
                assert (shared - gradient).abs().max() <= 1e-3 * gradient.abs().max() + 1e-6, name
            assert rank["metrics"] == pytest.approx(ranks[0]["metrics"])
