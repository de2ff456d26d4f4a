"""What the pages tell people to type: every command has these options, every snippet of Python runs."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from lightning.pytorch.cli import LightningCLI

from atgnn import cli
from atgnn.checkpoint import BUNDLED
from atgnn.options import typed
from atgnn.sweep import expand

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "experiments").rglob("README.md")),
]


def blocks(path, kinds):
    return re.findall(rf"^```(?:{kinds})\n(.*?)^```", path.read_text(), re.S | re.M)


def commands():
    """Every line of a page that calls atgnn, and the commands in backticks of its text, as words."""
    for path in PAGES:
        prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
        lines = "".join(blocks(path, "bash|")).replace("\\\n", " ").splitlines()
        lines += [" ".join(code.split()) for code in re.findall(r"`(atgnn [^`]+)`", prose)]
        for line in lines:
            found = re.search(r"(?:^|\s)(?:\.venv/bin/)?atgnn (.*)", line)
            if found and "…" not in line and "COMMAND" not in line:
                yield path.relative_to(ROOT), shlex.split(found[1].partition(" | ")[0], comments=True)


@pytest.mark.parametrize(
    ("page", "args"), [*commands()], ids=[f"{page}: {' '.join(args)[:60]}" for page, args in commands()]
)
def test_a_command_of_the_pages_is_understood(page, args, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    args = [re.sub(r"^(OVERLAY|overlay)\.yaml$", "experiments/mini/fast.yaml", arg) for arg in args]
    task = next((task for task in cli.TASKS if args[: len(task.split())] == task.split()), None)
    if args == ["--version"] or (task and len(args) == len(task.split())):
        return  # named in a sentence
    if task:
        parser, function = cli.task_parser(task)
        parser.parse_args(typed(args[len(task.split()) :], function))
        return
    assert args[0] in cli.LIGHTNING
    monkeypatch.setattr(LightningCLI, "instantiate_classes", _stop)
    monkeypatch.setattr(cli, "_check_checkpoint", lambda args: None)
    monkeypatch.setattr(LightningCLI, "_parse_ckpt_path", lambda self: None)
    made = [str(_recipe(tmp_path)) if arg.startswith("runs/") and arg.endswith(".yaml") else arg for arg in args]
    if len(args) > 1:
        with pytest.raises(_Parsed):
            cli._lightning(made)


class _Parsed(Exception):
    pass


@pytest.mark.parametrize("file", sorted(ROOT.glob("ex*/**/sweep*.yaml")), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_runs_of_a_sweep_are_understood(file, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(LightningCLI, "instantiate_classes", _stop)
    with pytest.raises(_Parsed):
        cli._lightning(expand(file)[-1].args)


def _stop(self):
    raise _Parsed


def _recipe(folder):
    """What the config of a run would be."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load((ROOT / "experiments" / "base.yaml").read_text())))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("page", [path for path in PAGES if blocks(path, "python")], ids=lambda path: path.name)
def test_the_snippets_of_a_page_run(page, tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "data").symlink_to(ROOT / "data")
    prepare = f"""
import soundfile
from pathlib import Path
from atgnn import cli
from atgnn.audio.files import read_audio
cli.main(["export", "model.onnx"])
soundfile.write("sound.wav", read_audio("{ROOT}/data/mini/clips/loop_tabla.flac", 16000).numpy(), 16000)
"""
    parts = ([prepare] if "model.onnx" in page.read_text() else []) + blocks(page, "python")
    script = "\n".join(parts).replace('"best.ckpt"', f'"{BUNDLED}"')
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300, env=os.environ
    )
    assert run.returncode == 0, run.stderr[-2000:]


@pytest.mark.parametrize("page", PAGES[:3], ids=lambda path: path.parent.name)
def test_targets_files_and_links_are_there(page):
    """Of pages that are not of the site: its links are checked where it is built."""
    text = page.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"^make (?:-j\d )?([a-z-]+)", "".join(blocks(page, "bash")), re.M)) <= targets
    for link in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", text):
        assert (page.parent / link).exists(), link
    for script in re.findall(r"(?:bash|python) (examples/\S+\.\w+)", text):
        assert (ROOT / script).is_file(), script
