"""The wheel and the sdist hold what the command needs: installed elsewhere, it tags a recording."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import atgnn

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel made from it, of the files as they are in the working tree."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    _run(sys.executable, "-m", "build", "--no-isolation", folder, "--outdir", folder / "dist")
    return folder / "dist"


@pytest.mark.slow
def test_wheel_tags_a_recording(built, tmp_path):
    environment = tmp_path / "venv"
    _run(sys.executable, "-m", "venv", environment)
    (wheel,) = built.glob("*.whl")
    python = environment / "bin" / "python"
    _run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    (site,) = environment.glob("lib/python*/site-packages")
    # The pinned dependencies of this environment, but not the package itself: its .pth file is not read from a path.
    depends = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path.endswith("-packages"))}
    command = environment / "bin" / "atgnn"
    where = _run(python, "-c", "import atgnn; print(atgnn.__file__)", cwd=tmp_path, env=depends)
    assert Path(where.strip()).is_relative_to(site)
    assert _run(command, "--version", cwd=tmp_path, env=depends).strip() == f"atgnn {atgnn.__version__}"
    clip = ROOT / "data" / "mini" / "clips" / "loop_tabla.flac"
    assert "Tabla" in _run(command, "tag", clip, cwd=tmp_path, env=depends)
    _run(command, "explain", clip, "--out", "why.html", "--draws", "1", cwd=tmp_path, env=depends)
    assert "Tabla" in (tmp_path / "why.html").read_text()


@pytest.mark.slow
def test_sdist_holds_the_source(built):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    source = {str(path.relative_to(ROOT)) for path in (ROOT / "src" / "atgnn").rglob("*.py")}
    assert {"README.md", "LICENSE", "src/atgnn/pretrained/mini.safetensors", *source} <= names


def _run(*command, **options):
    run = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, **options)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout
