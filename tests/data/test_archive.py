from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from atgnn.audio.files import encode_flac
from atgnn.data import archive
from atgnn.data.archive import Sample, new_directory, read_shard
from atgnn.data.index import Shard, read_index
from atgnn.errors import InputError

CLIPS = [["a"], ["a", "c"], [], ["c"], ["b"]]


def test_clips_come_back_in_order(write_clips: Callable[..., Path]) -> None:
    index = read_index(write_clips({"train": CLIPS}) / "train")
    samples = [sample for shard in index.shards for sample in read_shard(index.directory, shard)]
    assert [sample.key for sample in samples] == [f"train-{n:04d}" for n in range(5)]
    assert [sample.meta["labels"] for sample in samples] == CLIPS
    assert samples[0].flac.startswith(b"fLaC")


def test_tars_are_the_same_bytes_each_time(write_clips: Callable[..., Path]) -> None:
    one, two = (write_clips({"train": CLIPS}, name=name) / "train" for name in ("one", "two"))
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes()
    with tarfile.open(one / "000000.tar") as tar:
        assert {(entry.mtime, entry.uid, entry.gid, entry.uname) for entry in tar} == {(0, 0, 0, "")}


def test_a_truncated_tar_is_refused(write_clips: Callable[..., Path]) -> None:
    index = read_index(write_clips({"train": CLIPS}) / "train")
    path = index.directory / "000000.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[:3000])
    message = r"expected \d+ bytes, got 3000 in shard '.*000000.tar'; copy or write it again"
    with pytest.raises(InputError, match=message):
        list(read_shard(index.directory, index.shards[0]))
    # An index that agrees with the size does not help: inside a clip, and between two clips.
    for size in (700, 4096):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"000000\.tar"):
            list(read_shard(index.directory, replace(index.shards[0], bytes=size)))
    path.unlink()
    with pytest.raises(InputError, match=r"got a damaged shard '.*000000.tar' \(FileNotFoundError at clip 0"):
        list(read_shard(index.directory, index.shards[0]))


def write_tar(path: Path, members: dict[str, bytes], **attributes: object) -> Shard:
    with tarfile.open(path / "000000.tar", "w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            for attribute, value in attributes.items():
                setattr(entry, attribute, value)
            tar.addfile(entry, io.BytesIO(data))
    return Shard("000000.tar", (path / "000000.tar").stat().st_size, "", [[]])


@pytest.mark.parametrize(
    "meta", [b"{", b"[]", b"1", b'{"labels": 1}', b'{"labels": [1]}', b'{"labels": ' + b"[" * 100_000]
)
def test_a_clip_without_labels_is_marked(tmp_path: Path, meta: bytes) -> None:
    shard = write_tar(tmp_path, {"x.flac": b"", "x.json": meta})
    (sample,) = read_shard(tmp_path, shard)
    assert sample.meta == {"labels": []}
    assert sample.fault.startswith("expected JSON with labels, got ")


@pytest.mark.parametrize(
    "members",
    [
        {"x.json": b'{"labels": []}'},
        {"x.flac": b""},
        {"../x.flac": b"", "../x.json": b"{}"},
        {"/x.flac": b"", "/x.json": b"{}"},
        {"a/x.flac": b"", "a/x.json": b"{}"},
        {"x.flac": b"", "x.json": b" " * (1 << 20) + b"{}"},
        {"x.flac": b"", "x.json": b"{}", "x.pickle": b""},
    ],
)
def test_other_members_than_clips_are_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    shard = write_tar(tmp_path, members)
    with pytest.raises(InputError, match="expected a whole tar of clips, got a damaged shard"):
        list(read_shard(tmp_path, shard))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    shard = write_tar(tmp_path, {"x.flac": b"", "x.json": b"{}"}, type=kind, linkname="/etc/passwd")
    with pytest.raises(InputError, match=r"a member is called 'x\.flac' or is no plain file"):
        list(read_shard(tmp_path, shard))


@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
def test_compressed_tars_are_refused(tmp_path: Path, mode: str) -> None:
    with tarfile.open(tmp_path / "000000.tar", mode) as tar:  # type: ignore[call-overload]
        tar.addfile(tarfile.TarInfo("x.flac"))
    with pytest.raises(InputError, match="got a damaged shard"):
        list(read_shard(tmp_path, Shard("000000.tar", (tmp_path / "000000.tar").stat().st_size, "", [[]])))


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"

    def fail_halfway() -> None:
        with new_directory(out, overwrite=False) as unfinished:
            (unfinished / "half").write_text("")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert list(out.parent.iterdir()) == []
    with new_directory(out, overwrite=False) as unfinished:
        (unfinished / "whole").write_text("")
        assert not out.exists()
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert (out / "whole").is_file()


def test_only_shards_are_overwritten_and_only_when_told(write_clips: Callable[..., Path], tmp_path: Path) -> None:
    shards = write_clips({"train": CLIPS})
    with pytest.raises(InputError, match=r"got '.*shards', which is there; choose another name or give --overwrite"):
        new_directory(shards, overwrite=False).__enter__()
    with pytest.raises(RuntimeError), new_directory(shards, overwrite=True):
        raise RuntimeError
    assert read_index(shards / "train").clips == 5
    with new_directory(shards, overwrite=True) as unfinished:
        (unfinished / "new").write_text("")
    assert [path.name for path in shards.iterdir()] == ["new"]
    with pytest.raises(InputError, match=r"expected shards to overwrite, got '.*', which holds something else"):
        new_directory(tmp_path, overwrite=True).__enter__()
    with pytest.raises(InputError, match="expected a folder to write to, got"):
        new_directory(shards / "new" / "out", overwrite=False).__enter__()
    (tmp_path / "empty").mkdir()
    with new_directory(tmp_path / "empty", overwrite=False):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "shards"]


@pytest.mark.parametrize("keep", [False, True])
def test_two_commands_do_not_write_into_one_folder(tmp_path: Path, keep: bool) -> None:
    with new_directory(tmp_path / "out", overwrite=False, keep=True) as unfinished:
        (unfinished / "mine").write_text("")
        with pytest.raises(
            InputError, match=r"expected to write '.*out' alone, got another command that is writing it"
        ):
            new_directory(tmp_path / "out", overwrite=False, keep=True).__enter__()
        assert [path.name for path in unfinished.iterdir() if path.name != ".lock"] == ["mine"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
    # A command that was killed leaves its lock file, and nobody who holds it.
    (tmp_path / "next.part").mkdir()
    (tmp_path / "next.part" / ".lock").write_text("")
    with new_directory(tmp_path / "next", overwrite=False, keep=keep):
        pass
    assert (tmp_path / "next").is_dir()


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = write_tar(tmp_path, {"x.flac": b"12345", "x.json": b'{"labels": []}'})
    assert len(list(read_shard(tmp_path, shard))) == 1
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 4)
    with pytest.raises(InputError, match=r"member 'x\.flac' has 5 bytes"):
        list(read_shard(tmp_path, shard))
    monkeypatch.setattr(archive, "MAX_CLIP_SECONDS", 1)
    # A header that promises 2³⁶ - 1 samples, and one that says nothing of the samples that come.
    whole = encode_flac(torch.zeros(16001), 16000)
    for count in (2**36 - 1, 16001):
        fields = int.from_bytes(whole[18:26], "big") >> 36 << 36 | count
        flac = whole[:18] + fields.to_bytes(8, "big") + whole[26:]
        with pytest.raises(InputError, match=rf"expected at most 16000 samples, got {count} at 16000 Hz"):
            Sample("x", flac, {"labels": []}).waveform(16000)


def test_a_sparse_member_is_refused(tmp_path: Path) -> None:
    """A few bytes of it may unfold to any size."""
    kept = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 40), "path": "x.flac"}
    with tarfile.open(tmp_path / "000000.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("x.flac")
        entry.pax_headers, entry.size = kept, 512
        tar.addfile(entry, io.BytesIO(b"1\n0\n0\n".ljust(512, b"\0")))
    shard = Shard("000000.tar", (tmp_path / "000000.tar").stat().st_size, "", [[]])
    with pytest.raises(InputError, match=r"a member is called 'x\.flac' or is no plain file"):
        list(read_shard(tmp_path, shard))
