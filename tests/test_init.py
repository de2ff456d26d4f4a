from __future__ import annotations

import subprocess
import sys

import pytest

import atgnn

#: Imports what atgnn stands on, then atgnn, and tells what atgnn has loaded of its own.
SCRIPT = """
import sys
import lightning, torch, torch_geometric
before = set(sys.modules)
from atgnn import ATGNN
print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
from atgnn import ShardDataModule
print("webdataset" in sys.modules, ShardDataModule.__module__)
"""


@pytest.mark.slow
def test_importing_loads_nothing_heavy() -> None:
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True, check=True)
    loaded, lazily = run.stdout.splitlines()
    heavy = {"wandb", "webdataset", "matplotlib", "transformers", "timm", "sklearn", "soundfile", "torch_cluster"}
    assert "atgnn" in loaded.split()
    assert heavy.isdisjoint(loaded.split())
    assert lazily == "True atgnn.data.datamodule"


def test_every_public_name_is_there() -> None:
    assert all(hasattr(atgnn, name) for name in atgnn.__all__)
    assert atgnn.ShardDataModule.__name__ == "ShardDataModule"


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="module 'atgnn' has no attribute 'ATGN'"):
        atgnn.ATGN  # noqa: B018
