"""Recordings by what people name: files, folders, patterns, shards here or on the web, and standard input."""

from __future__ import annotations

import glob
import io
import shutil
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from atgnn.audio.files import AudioFile
from atgnn.data.listing import is_sound
from atgnn.errors import InputError


def find_recordings(given: list[str]) -> Iterator[tuple[str, AudioFile]]:
    """Name and file of every recording, one at a time.

    Args:
        given: sound files, folders (searched through), patterns with '*', shards (.tar) as paths or as
            http(s) addresses, and '-' for one recording on standard input.

    Raises:
        InputError: if a folder, pattern or shard holds no recording, or an address cannot be read.
    """
    for name in given:
        path = Path(name)
        if name == "-":
            with tempfile.TemporaryFile() as file:  # decoding has to seek
                shutil.copyfileobj(sys.stdin.buffer, file)
                file.seek(0)
                yield "-", cast(BinaryIO, file)
        elif name.endswith(".tar"):
            yield from _some(name, _members(name))
        elif path.is_dir():
            files = sorted(file for file in path.rglob("*") if is_sound(file.name) and file.is_file())
            yield from _some(name, ((str(file), file) for file in files))
        elif not path.exists() and glob.has_magic(name):
            files = sorted(Path(file) for file in glob.glob(name, recursive=True))
            yield from _some(name, ((str(file), file) for file in files if file.is_file()))
        else:
            yield name, path


def _members(name: str) -> Iterator[tuple[str, AudioFile]]:
    try:
        web = name.startswith(("http://", "https://"))
        with (
            urllib.request.urlopen(name) if web else Path(name).open("rb") as source,
            tarfile.open(fileobj=source, mode="r|") as tar,
        ):
            for member in tar:
                if member.isfile() and is_sound(Path(member.name).name) and (file := tar.extractfile(member)):
                    yield f"{name}/{member.name}", io.BytesIO(file.read())
    except (OSError, tarfile.TarError, urllib.error.URLError) as error:
        raise InputError(f"expected a shard at {name}, got none that can be read ({error}); correct it") from error


def _some(name: str, recordings: Iterator[tuple[str, AudioFile]]) -> Iterator[tuple[str, AudioFile]]:
    found = False
    for found, recording in ((True, recording) for recording in recordings):  # noqa: B007
        yield recording
    if not found:
        raise InputError(f"expected recordings in {name}, got none; name sound files, or what holds them")
