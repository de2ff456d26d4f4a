from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from atgnn.data.listing import Clip
from atgnn.data.pack import Packing, file_state
from atgnn.data.shards import write_shards

SHARDS = 12


def packing(folder: Path, file: Path) -> Packing:
    return Packing(folder / "train" / "000000.tar", [(Clip(file, "x", ("a",)), "x", file_state(file))], 16000, ["a"])


def test_what_is_whole_is_kept_and_all_else_written_again(tmp_path: Path, write_tone: Callable[..., Path]) -> None:
    work = packing(tmp_path, write_tone(tmp_path / "x.wav"))
    assert work.packed() is None
    first = work.pack()
    assert work.packed() == first
    inode = work.path.stat().st_ino
    assert work.pack() == first
    assert work.path.stat().st_ino == inode
    whole = work.path.read_bytes()
    for damage in (whole[:-1], whole.replace(b"fLaC", b"XXXX")):
        work.path.write_bytes(damage)
        assert work.pack() == first
        assert work.path.read_bytes() == whole
    work.note.write_text("{")
    assert work.packed() is None
    assert work.pack() == first


def test_the_stamp_follows_all_that_decides_on_the_bytes(tmp_path: Path, write_tone: Callable[..., Path]) -> None:
    file = write_tone(tmp_path / "x.wav")
    work = packing(tmp_path, file)
    stamps = {work.stamp(), replace(work, sample_rate=8000).stamp(), replace(work, labels=["a", "b"]).stamp()}
    write_tone(file, pitch=880)
    assert len(stamps | {packing(tmp_path, file).stamp()}) == 4


SLOWLY = """
import time
from pathlib import Path
from atgnn.data import shards
from atgnn.data.pack import Packing
in_parallel = shards.in_parallel

def slowly(packing):
    time.sleep(0.3)
    return packing.pack()

shards.in_parallel = lambda function, *args, **options: in_parallel(slowly, *args, **options)
shards.write_shards(Path("source"), Path("out"), clips_per_shard=1, jobs=2)
"""


@pytest.mark.slow
def test_a_killed_run_is_continued(
    write_manifest: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    manifest = write_manifest([{"file": f"{n}.wav", "labels": "ab"[n % 2], "split": "train"} for n in range(SHARDS)])
    run = subprocess.Popen([sys.executable, "-c", SLOWLY], cwd=tmp_path, start_new_session=True)
    part = tmp_path / "out.part" / "train"
    while len(list(part.glob("*.json"))) < 3:
        assert run.poll() is None
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    notes = {path.with_suffix(".tar").name for path in part.glob("*.json")}
    assert 3 <= len(notes) < SHARDS
    assert not (tmp_path / "out").exists()
    assert not (part / "index.json").exists()
    before = {name: (part / name).stat().st_ino for name in notes}
    write_shards(manifest, tmp_path / "out", clips_per_shard=1)
    assert f"continuing, {len(notes)} of {SHARDS} shards are there" in capfd.readouterr().err
    assert {name: (tmp_path / "out" / "train" / name).stat().st_ino for name in notes} == before
    write_shards(manifest, tmp_path / "whole", clips_per_shard=1, jobs=2)
    out, whole = ({p.name: p.read_bytes() for p in (tmp_path / n).rglob("*.*")} for n in ("out", "whole"))
    assert out == whole
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith((".part", ".tmp"))] == []
