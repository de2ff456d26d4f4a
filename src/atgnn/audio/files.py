"""Decode any sound file to one mono waveform at one rate, and encode it again as FLAC."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import torch
from torch import Tensor

from atgnn.audio.resample import resample_blocks
from atgnn.errors import InputError

AudioFile = str | os.PathLike[str] | BinaryIO
"""A path, or an open binary file that can seek."""

MAX_SAMPLE_RATE = 1_000_000
# 12 hours at 48 kHz, 8 GB: a header may promise more than any memory holds, and a few bytes of FLAC decode to hours.
MAX_SAMPLES = 1 << 31
MAX_BLOCK = 1 << 24


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What the header of a sound file says.

    Attributes:
        sample_rate: samples a second.
        channels: channels of the file.
        frames: samples in each channel.
    """

    sample_rate: int
    channels: int
    frames: int

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate


def audio_info(file: AudioFile, *, name: str | None = None) -> AudioInfo:
    """Read rate, channels and length from the header alone.

    Args:
        file: a path or an open binary file.
        name: what errors call it; the path by default.

    Raises:
        InputError: if the file is absent or not audio.
    """
    with _open(file, name or _name(file)) as sound:
        return AudioInfo(sound.samplerate, sound.channels, sound.frames)


def read_audio(file: AudioFile, sample_rate: int, *, name: str | None = None, max_samples: int = MAX_SAMPLES) -> Tensor:
    """Decode a file, average its channels, and resample to ``sample_rate``.

    Samples lie within ±1: a file that goes beyond (float formats and lossy ones may) is scaled down by its peak.

    Args:
        file: a path or an open binary file, in any format that libsndfile reads.
        sample_rate: rate of the returned waveform in Hz.
        name: what errors call it; the path by default.
        max_samples: most samples, over all channels and after resampling; longer audio is not decoded.

    Shape:
        returns: (T,) float32.

    Raises:
        InputError: if the file is absent, not audio, cut short, too long, empty, or holds NaN or infinity.
    """
    name = name or _name(file)
    with _open(file, name) as sound:
        rate, frames, channels = sound.samplerate, sound.frames, sound.channels
        if max(frames * channels, frames * sample_rate // rate) > max_samples:
            raise InputError(
                f"expected at most {max_samples} samples, got {frames} at {rate} Hz on {channels} channels "
                f"in '{name}'; cut it into pieces",
                cause="too long",
            )
        blocks = list(resample_blocks(_decode(sound, name, seconds=30.0), rate, sample_rate))
    waveform = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
    low, high = waveform.aminmax()
    peak = torch.maximum(-low, high)
    return waveform / peak if peak > 1 else waveform


def read_blocks(
    file: AudioFile, sample_rate: int, *, name: str | None = None, seconds: float = 30.0
) -> Iterator[Tensor]:
    """Decode a file of any length in bounded memory: as :func:`read_audio`, but a block at a time and not scaled.

    Args:
        file: a path or an open binary file, in any format that libsndfile reads.
        sample_rate: rate of the blocks in Hz.
        name: what errors call it; the path by default.
        seconds: of sound that are decoded at a time.

    Shape:
        yields: (t,) float32; joined, they are the recording.

    Raises:
        InputError: as in :func:`read_audio`; a file that is cut short is found out at its end.
    """
    name = name or _name(file)
    with _open(file, name) as sound:
        yield from resample_blocks(_decode(sound, name, seconds), sound.samplerate, sample_rate)


def _decode(sound: soundfile.SoundFile, name: str, seconds: float) -> Iterator[Tensor]:
    count = 0
    whole_numbers = sound.subtype.startswith("PCM_")
    size = min(math.ceil(seconds * sound.samplerate), MAX_BLOCK // sound.channels)
    while True:
        try:
            samples = sound.read(size, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise InputError(
                f"expected audio that decodes to its end, got an error in '{name}' ({error}); "
                "replace or leave out the file",
                cause="truncated",
            ) from error
        if len(samples) == 0:
            break
        if not whole_numbers and not np.isfinite(samples).all():
            raise InputError(
                f"expected finite samples, got NaN or infinity in '{name}'; repair or leave out the file",
                cause="not finite",
            )
        count += len(samples)
        yield torch.from_numpy(samples[:, 0] if sound.channels == 1 else samples.mean(axis=1, dtype=np.float32))
    if count == 0:
        raise InputError(f"expected at least one sample, got none in '{name}'; leave out the file", cause="empty")
    # The length an MP3 header announces is an estimate; elsewhere it is a promise.
    if count < sound.frames and sound.format != "MP3":
        raise InputError(
            f"expected {sound.frames} samples, got {count} in '{name}', which is cut short; "
            "replace or leave out the file",
            cause="truncated",
        )


def encode_flac(waveform: Tensor, sample_rate: int) -> bytes:
    """Encode a waveform as 16-bit mono FLAC; the same samples give the same bytes.

    Args:
        waveform: samples within ±1; those beyond are clipped.
        sample_rate: samples a second.

    Shape:
        waveform: (T,).
    """
    levels = (waveform.double() * 32768).round().clamp(-32768, 32767).to(torch.int16)
    stream = io.BytesIO()
    soundfile.write(stream, levels.numpy(), sample_rate, format="FLAC", subtype="PCM_16")
    return stream.getvalue()


def _open(file: AudioFile, name: str) -> soundfile.SoundFile:
    if isinstance(file, str | os.PathLike) and not Path(file).is_file():
        raise InputError(f"expected a sound file, got '{name}', which does not exist; correct the path")
    try:
        sound = soundfile.SoundFile(file)
    # TypeError: headerless .raw files need a rate and a channel count that nobody gave.
    except (soundfile.SoundFileError, TypeError, OSError) as error:
        raise InputError(
            f"expected a sound file that libsndfile reads, got '{name}', which cannot be decoded; "
            "convert it to WAV or FLAC, or leave it out"
        ) from error
    if not 0 < sound.samplerate <= MAX_SAMPLE_RATE:
        raise InputError(
            f"expected a sample rate of 1 to {MAX_SAMPLE_RATE} Hz, got {sound.samplerate} Hz in '{name}'; "
            "convert it to a usual rate"
        )
    return sound


def _name(file: AudioFile) -> str:
    return os.fspath(file) if isinstance(file, str | os.PathLike) else str(getattr(file, "name", "audio in memory"))
