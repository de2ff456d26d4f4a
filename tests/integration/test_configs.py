"""Every YAML in the repository is one that the command understands."""

from pathlib import Path

import pytest
import yaml
from lightning.pytorch.cli import LightningCLI

from atgnn import cli

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "experiments").rglob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_fit_accepts_the_overlay(path, monkeypatch, capsys):
    """Parse it over the base recipe as `atgnn fit` does, and stop before anything is built."""
    monkeypatch.setattr(LightningCLI, "instantiate_classes", _stop)
    with pytest.raises(_Parsed) as parsed:
        cli.main(["fit", "-c", str(ROOT / "experiments" / "base.yaml"), "-c", str(path)])
    for key in _leaves(yaml.safe_load(path.read_text())):
        assert _has(parsed.value.config, key), f"{path.name}: {'.'.join(key)} got lost"


class _Parsed(Exception):
    def __init__(self, config):
        self.config = config


def _stop(self):
    raise _Parsed(self.config["fit"])


def _leaves(tree, above=()):
    for key, value in tree.items():
        yield from _leaves(value, (*above, key)) if isinstance(value, dict) else [(*above, key)]


def _has(config, key):
    for part in key:
        if part not in config:
            return False
        config = config[part]
    return True
