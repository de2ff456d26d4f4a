"""What every test starts from: one thread, one seed; and small data sets in their published layouts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import lightning  # noqa: F401  its log goes where standard error is when it is imported: not into a test's
import pytest
import soundfile
import torch

from atgnn.audio.files import read_audio


@pytest.fixture(autouse=True)
def _reproducible() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def fsd50k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of FSD50K in its published layout, its clips real ones of data/mini, at 44.1 kHz."""
    root, clips = tmp_path_factory.mktemp("sources") / "FSD50K", iter(_clips())
    (root / "FSD50K.ground_truth").mkdir(parents=True)
    names = ["Chirp_and_tweet", "Writing", "Acoustic_guitar", "Guitar"]
    vocabulary = "".join(f"{number},{name},/m/{number}\n" for number, name in enumerate(names))
    (root / "FSD50K.ground_truth" / "vocabulary.csv").write_text(vocabulary)
    for part, count in (("dev", 16), ("eval", 6)):
        (root / f"FSD50K.{part}_audio").mkdir()
        lines = ["fname,labels,mids" + ",split" * (part == "dev")]
        for number in range(count):
            fname = (1000 if part == "dev" else 2000) + number
            labels = ["Writing", "Acoustic_guitar,Guitar", "Chirp_and_tweet", "Guitar"][number % 4]
            split = f",{'train' if number < 12 else 'val'}" if part == "dev" else ""
            lines.append(f'{fname},"{labels}","/m/0"{split}')
            _write(root / f"FSD50K.{part}_audio" / f"{fname}.wav", next(clips), 44100)
        (root / "FSD50K.ground_truth" / f"{part}.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="session")
def audioset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of AudioSet in its published layout; file names as several downloaders write them."""
    root, clips = tmp_path_factory.mktemp("sources") / "AudioSet", iter(_clips())
    root.mkdir()
    names = ["Speech", "Chirp, tweet", "Male speech, man speaking", "Music"]
    classes = "".join(f'{number},/m/{number},"{name}"\n' for number, name in enumerate(names))
    (root / "class_labels_indices.csv").write_text("index,mid,display_name\n" + classes)
    for place, (part, count) in enumerate((("balanced_train", 8), ("unbalanced_train", 4), ("eval", 8))):
        lines = ["# Segments csv created for a test", f"# num_ytids={count}, num_segs={count}",
                 "# YTID, start_seconds, end_seconds, positive_labels"]  # fmt: skip
        for number in range(count):
            ytid = f"{'-Y_'[number % 3]}{'Y-_'[number % 3]}clip{place}_{number:02d}-"
            lines.append(f'{ytid}, {number * 10}.000, {number * 10 + 10}.000, "/m/{number % 4},/m/1"')
            name = (ytid, f"Y{ytid}", f"{ytid}_{number * 10}_{number * 10 + 10}", f"{ytid}_{number * 10000}")[
                number % 4
            ]
            suffix, rate = (("wav", 48000), ("flac", 16000), ("ogg", 44100))[number % 3]
            folder = root / (f"{part}_segments" if number % 2 else "audio")
            _write(folder / f"{name}.{suffix}", next(clips), rate, channels=1 + number % 2)
        (root / f"{part}_segments.csv").write_text("\n".join(lines) + "\n")
    return root


def _clips() -> list[Path]:
    return sorted((Path(__file__).parents[1] / "data" / "mini" / "clips").iterdir())


def _write(path: Path, clip: Path, rate: int, channels: int = 1) -> None:
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, read_audio(clip, rate)[: 2 * rate, None].repeat(1, channels).numpy(), rate)


@pytest.fixture
def figure(capsys: pytest.CaptureFixture[str]) -> Callable[[str, str], None]:
    """Print a figure that docs/reliability.md quotes; into ATGNN_FIGURES too, if that names a file."""

    def keep(name: str, value: str) -> None:
        with capsys.disabled():
            print(f"\n{name}: {value}")  # noqa: T201
        if path := os.environ.get("ATGNN_FIGURES"):
            known = json.loads(Path(path).read_text()) if Path(path).exists() else {}
            Path(path).write_text(json.dumps(known | {name: value}, indent=1, sort_keys=True) + "\n")

    return keep
