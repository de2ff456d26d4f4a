"""Every YAML in the repository is one that the command understands."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from lightning.pytorch.cli import LightningCLI

from atgnn import cli
from atgnn.sweep import expand

ROOT = Path(__file__).parents[2]
YAMLS = sorted((ROOT / "experiments").rglob("*.yaml"))
SWEEPS = [path for path in YAMLS if "method" in yaml.safe_load(path.read_text())]
FILES = [path for path in YAMLS if path not in SWEEPS]


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_fit_accepts_the_overlay(path, monkeypatch, capsys):
    """Parse it over the base recipe as `atgnn fit` does, and stop before anything is built."""
    monkeypatch.setattr(LightningCLI, "instantiate_classes", _stop)
    with pytest.raises(_Parsed) as parsed:
        cli.main(["fit", "-c", str(ROOT / "experiments" / "base.yaml"), "-c", str(path)])
    for key in _leaves(yaml.safe_load(path.read_text())):
        assert _has(parsed.value.config, key), f"{path.name}: {'.'.join(key)} got lost"


@pytest.mark.parametrize(("script", "launcher"), [("slurm", "srun"), ("torchrun", "torchrun")])
def test_a_launch_file_starts_a_run_that_fit_accepts(script, launcher, monkeypatch, tmp_path):
    """Run it with a launcher that only writes down what it is given."""
    (tmp_path / launcher).write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$0.args"\n')
    (tmp_path / launcher).chmod(0o755)
    job = {"SLURM_JOB_NAME": "atgnn", "SLURM_JOB_ID": "7", "SLURM_NNODES": "4", "SLURM_NTASKS_PER_NODE": "8"}
    path = ROOT / "experiments" / "cluster" / f"{script}.sh"
    environment = os.environ | job | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "NODES": "4", "GPUS": "8"}
    subprocess.run([path, "--seed_everything", "5"], env=environment, cwd=ROOT, check=True)
    own, _, arguments = (tmp_path / f"{launcher}.args").read_text().partition("atgnn\nfit\n")
    assert own.startswith("--nnodes\n4\n--nproc-per-node\n8\n" if launcher == "torchrun" else "")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(LightningCLI, "instantiate_classes", _stop)
    with pytest.raises(_Parsed) as parsed:
        cli.main(["fit", *arguments.splitlines()])
    trainer = parsed.value.config.trainer
    assert (trainer.num_nodes, trainer.devices, trainer.strategy) == (4, "8", "ddp")
    assert parsed.value.config.seed_everything == 5


@pytest.mark.parametrize("path", SWEEPS, ids=[str(path.relative_to(ROOT)) for path in SWEEPS])
def test_a_sweep_expands_and_its_first_command_is_understood(path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(LightningCLI, "instantiate_classes", _stop)
    runs = expand(path)
    assert len({run.scores for run in runs}) == len(runs)
    _check_command(runs[0])


@pytest.mark.slow
@pytest.mark.parametrize("path", SWEEPS, ids=[str(path.relative_to(ROOT)) for path in SWEEPS])
def test_every_command_of_a_sweep_is_understood(path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(LightningCLI, "instantiate_classes", _stop)
    for run in expand(path, fast=True):  # seeds aside
        _check_command(run)


def _check_command(run):
    """It parses, varies what it says it does, and has its callbacks."""
    with pytest.raises(_Parsed) as parsed:
        cli.main(run.args)
    config = parsed.value.config
    assert config.settings == run.settings
    for option, value in run.settings.items():
        if option not in ("config", "model"):
            assert _plain(config[option.replace("model.", "model.init_args.")]) == value, option
    asked = [word.partition("=")[2] for word in run.args if word.startswith("--trainer.callbacks+=")]
    there = [callback.class_path for callback in config.trainer.callbacks]
    assert there[len(there) - len(asked) :] == asked


def _plain(value):
    return json.loads(json.dumps(value.as_dict() if hasattr(value, "as_dict") else value))


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
