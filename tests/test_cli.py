"""The `atgnn` command: help that reads well, bad input told in one sentence with exit code 2."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from atgnn import cli


@pytest.fixture
def recordings(tmp_path):
    """A folder per label, three recordings each."""
    rng = np.random.default_rng(0)
    for label in ("Dog", "Rain"):
        (tmp_path / "recordings" / label).mkdir(parents=True)
        for number in range(3):
            sound = 0.1 * rng.standard_normal(8000 + number)
            soundfile.write(tmp_path / "recordings" / label / f"{number}.wav", sound, 16000)
    return tmp_path / "recordings"


@pytest.fixture
def shards(recordings, tmp_path):
    out = tmp_path / "shards"
    assert cli.main(["shards", "write", str(recordings), str(out), "--val-fraction", "0.3"]) == 0
    return out


def test_help_names_every_command(capsys):
    assert cli.main([]) == 0
    printed = capsys.readouterr().out
    for name in (*cli.LIGHTNING, *cli.TASKS):
        assert name in printed


@pytest.mark.parametrize("name", list(cli.TASKS))
def test_help_of_every_task(name, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*name.split(), "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "Raises" not in printed
    assert "Args" not in printed


def test_options_with_dashes_or_underscores(recordings, tmp_path, capsys):
    assert cli.main(["shards", "write", str(recordings), str(tmp_path / "a"), "--clips-per-shard=1"]) == 0
    assert cli.main(["shards", "write", str(recordings), str(tmp_path / "b"), "--clips_per_shard", "1"]) == 0
    assert cli.main(["shards", "check", str(tmp_path / "a")]) == 0
    assert "2 labels" in capsys.readouterr().out


def test_mix_by_count(shards, tmp_path, capsys):
    out = tmp_path / "scenes"
    assert cli.main(["shards", "mix", str(shards), str(out), "--scenes.train", "3", "--duration", "1"]) == 0
    assert json.loads((out / "train" / "index.json").read_text())["clips"] == 3


OVERLAY = ["--model.init_args.variant", "pyramid-nano", "--model.init_args.clip_seconds", "0.5"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nonsense"], "expected a command, got 'nonsense'"),
        (["shards", "write", "ABSENT", "OUT"], "ABSENT"),
        (["shards", "check", "ABSENT"], "ABSENT"),
        (["shards", "mix", "ABSENT", "OUT", "--scenes.train", "3"], "ABSENT"),
        (["tag", "ABSENT.wav"], "ABSENT.wav"),
        (["tag", "--checkpoint", "ABSENT.ckpt", "x.wav"], "expected a checkpoint at ABSENT.ckpt, got no such file"),
        (["tag", "ABSENT.wav", "--out", "."], "expected a path that can be used, got . (Is a directory)"),
        (["score", "ABSENT.npz"], "expected a file of scores at ABSENT.npz, got none"),
        (["probe", "ABSENT", "OUT.npz"], "ABSENT"),
        (["weights", "pack", "ABSENT.ckpt", "OUT.safetensors"], "got no such file"),
        (["fit", "-c", "BASE", "--data.shards", "ABSENT"], "ABSENT"),
        (["test", "-c", "BASE", "--ckpt_path", "ABSENT.ckpt"], "expected a checkpoint at ABSENT.ckpt"),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_sentence_and_exit_code_2(args, said, tmp_path, monkeypatch, capsys, pytestconfig):
    base = str(pytestconfig.rootpath / "experiments" / "base.yaml")
    monkeypatch.chdir(tmp_path)
    assert cli.main([base if arg == "BASE" else arg for arg in args]) == 2
    err = capsys.readouterr().err
    message = [line for line in err.splitlines() if line.startswith("atgnn: ")]
    assert len(message) == 1
    assert said in message[0]
    assert "Traceback" not in err
    assert not (tmp_path / "OUT").exists()


def test_sample_rate_of_shards_and_model_differ(shards, capsys, pytestconfig):
    base = str(pytestconfig.rootpath / "experiments" / "base.yaml")
    args = ["fit", "-c", base, "--data.shards", str(shards), "--model.init_args.sample_rate", "32000"]
    assert cli.main([*args, *OVERLAY]) == 2
    assert "expected 32000 Hz, got 16000 Hz" in capsys.readouterr().err


def test_the_installed_command_has_no_traceback(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", "from atgnn.cli import run; run()", "tag", "absent.wav"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 2
    assert "absent.wav" in run.stderr
    assert "Traceback" not in run.stderr
