"""Damaged and hostile shards, indices, sounds and checkpoints end in our error or are read; nothing else comes out.

``ATGNN_FUZZ=100000 pytest tests/integration/test_fuzz.py`` tries so many inputs instead of a few.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from atgnn import ATGNN
from atgnn.audio.files import encode_flac, read_audio
from atgnn.checkpoint import load_tagger, save_model
from atgnn.data import archive
from atgnn.data.archive import Sample, read_shard, write_split
from atgnn.data.index import Shard, read_index
from atgnn.errors import InputError

INPUTS = int(os.environ.get("ATGNN_FUZZ", "1800"))
LONG = "ATGNN_FUZZ" in os.environ
CLIPS = Path(__file__).parents[2] / "data" / "mini" / "clips"
SHARES = {
    "shard": 0.2,
    "members": 0.2,
    "index": 0.15,
    "values": 0.15,
    "audio": 0.24,
    "checkpoint": 0.03,
    "settings": 0.03,
}
FORMATS = [
    ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "IMA_ADPCM"), ("FLAC", "PCM_16"), ("AIFF", "PCM_24"), ("AU", "ULAW"),
    ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("CAF", "ALAC_16"), ("W64", "PCM_16"),
    ("RF64", "PCM_16"),
]  # fmt: skip
tried: dict[str, int] = {}

pytestmark = pytest.mark.slow


def fuzz(name: str) -> Callable[[Any], Any]:
    """The same inputs each time in a short run, new ones in a long run."""
    return settings(
        max_examples=max(20, int(INPUTS * SHARES[name])), deadline=None, database=None, derandomize=not LONG,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate] if LONG else list(Phase),
    )  # fmt: skip


places = st.one_of(st.integers(0, 600), st.integers(0, 1 << 16), st.integers(-300, -1))
damages = st.lists(
    st.tuples(
        st.sampled_from(["write", "flip", "cut", "drop", "repeat", "insert"]),
        places,
        st.one_of(
            st.binary(min_size=1, max_size=12),
            st.sampled_from([b"\0" * 8, b"\xff" * 8, b"\xff\xff\xff\x7f", b"\x80" + b"\0" * 7, b"[" * 64, b"9" * 12]),
        ),
    ),
    min_size=1,
    max_size=5,
)


def damaged(whole: bytes, damage: list[tuple[str, int, bytes]]) -> bytes:
    """What real files look like after broken disks and ill will."""
    data = bytearray(whole)
    for kind, place, value in damage:
        at = place % max(1, len(data))
        if kind == "write":
            data[at : at + len(value)] = value
        elif kind == "flip" and data:
            data[at] ^= value[0]
        elif kind == "cut":
            del data[at:]
        elif kind == "drop":
            del data[at : at + value[0]]
        elif kind == "repeat":
            data[at:at] = data[at : at + 16 * value[0]]
        elif kind == "insert":
            data[at:at] = value
    return bytes(data)


def values(keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """JSON of any shape, with numbers that are no sizes and texts that are paths."""
    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(-2, 5), st.sampled_from([2**31, 2**63, 10**12, 10**30, 1e308]),
        st.just(float("nan")), st.floats(), st.text(max_size=8),
        st.sampled_from(["../x.tar", "/etc/passwd", "pipe:date", "000001.tar"]),
    )  # fmt: skip
    return st.recursive(
        leaves,
        lambda x: st.lists(x, max_size=4) | st.dictionaries(keys | st.text(max_size=4), x, max_size=4),
        max_leaves=8,
    )


def count(name: str) -> None:
    tried[name] = tried.get(name, 0) + 1


@pytest.fixture(scope="module", autouse=True)
def _bounds() -> Any:
    """Small ones, so that what they let through is read in milliseconds."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "MAX_CLIP_SECONDS", 4)
        patch.setattr(archive, "MAX_MEMBER_BYTES", 1 << 20)
        yield


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real clips, a quarter of a second of each."""
    root = tmp_path_factory.mktemp("fuzz")
    sounds = [read_audio(path, 16000)[:4000] for path in sorted(CLIPS.iterdir())[:6]]
    samples = [
        Sample(
            f"c{n}", encode_flac(sound, 16000), {"labels": ["ab"[n % 2]], "duration": 0.25, "source": "", "group": "g"}
        )
        for n, sound in enumerate(sounds)
    ]
    write_split(root / "train", samples, sample_rate=16000, labels=["a", "b"], clips_per_shard=2, recipe={"seed": 0})
    return root / "train"


@pytest.fixture(scope="module")
def sounds() -> list[bytes]:
    """Real clips in the formats that libsndfile writes."""
    encoded = []
    for number, path in enumerate(sorted(CLIPS.iterdir())[:4]):
        sound = read_audio(path, 16000)[:3000].numpy()
        for kind, subtype in FORMATS[number::2]:
            stream = io.BytesIO()
            soundfile.write(stream, sound, 16000, format=kind, subtype=subtype)
            encoded.append(stream.getvalue())
    return encoded


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    torch.manual_seed(0)
    size = {
        "kind": "isotropic",
        "channels": [16],
        "blocks": [2],
        "mlg_blocks": [],
        "reductions": [1],
        "head_channels": 8,
    }
    model = ATGNN(["a", "b"], size, n_mels=16, clip_seconds=0.2, k=2, plg=False, llg=False)
    folder = tmp_path_factory.mktemp("checkpoints")
    for suffix in (".ckpt", ".safetensors"):
        save_model(model, folder / f"model{suffix}")
    return sorted(folder.iterdir())


def read_all(directory: Path, shard: Shard) -> None:
    with suppress(InputError):
        for sample in read_shard(directory, shard):
            with suppress(InputError):
                sample.waveform(16000)


def test_shards(split: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    index, out = read_index(split), tmp_path_factory.mktemp("shards")
    whole = [(split / shard.name).read_bytes() for shard in index.shards]

    @fuzz("shard")
    @given(number=st.integers(0, len(whole) - 1), damage=damages)
    def run(number: int, damage: list[tuple[str, int, bytes]]) -> None:
        count("shard")
        data = damaged(whole[number], damage)
        (out / "000000.tar").write_bytes(data)
        read_all(out, replace(index.shards[number], name="000000.tar", bytes=len(data)))

    run()


def test_members(split: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tars that are whole, of members that no shard has."""
    out, flac = tmp_path_factory.mktemp("members"), encode_flac(torch.zeros(100), 16000)
    names = st.builds(
        lambda stem, suffix: stem + suffix,
        st.sampled_from(["a", "b", "../a", "/a", "a/../../b", "C:\\a", "a" * 200, "a\n", "", ".", "ä", "a.b"]),
        st.sampled_from([".flac", ".json", ".pickle", ".pyd", "", ".JSON", ".flac.json"]),
    )
    types = st.sampled_from([tarfile.REGTYPE] * 8 + [b"1", b"2", b"3", b"5", b"6", b"S", b"x", b"L", b"K", b"g", b"V"])
    contents = st.one_of(
        st.just(flac),
        st.binary(max_size=40),
        values(st.sampled_from(["labels", "events"])).map(lambda v: json.dumps(v).encode()),
    )
    members = st.lists(
        st.tuples(names, types, contents, st.integers(-3, 600), st.text(max_size=5)), min_size=1, max_size=5
    )

    @fuzz("members")
    @given(members=members, form=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    def run(members: list[tuple[str, bytes, bytes, int, str]], form: int) -> None:
        count("members")
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
            for name, kind, data, more, text in members:
                entry = tarfile.TarInfo(name)
                entry.type, entry.size, entry.linkname = kind, len(data) + max(0, more - 500), "../../etc/passwd"
                entry.pax_headers = {"GNU.sparse.size": text, "comment": text} if more < 0 else {}
                with suppress(ValueError):  # no header can say it
                    tar.addfile(entry, io.BytesIO(data.ljust(entry.size, b"\0")))
        (out / "000000.tar").write_bytes(stream.getvalue())
        read_all(out, Shard("000000.tar", len(stream.getvalue()), "", [[]] * 3))
        assert [path.name for path in out.iterdir()] == ["000000.tar"]

    run()


def test_indices(split: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    whole, out = (split / "index.json").read_bytes(), tmp_path_factory.mktemp("indices")
    content = json.loads(whole)

    def try_it(data: bytes) -> None:
        (out / "index.json").write_bytes(data)
        with suppress(InputError):
            index = read_index(out)
            assert all((out / shard.name).parent == out for shard in index.shards)
            assert len(index.label_counts) == len(index.labels)
            assert index.digest

    @fuzz("index")
    @given(damage=damages)
    def run(damage: list[tuple[str, int, bytes]]) -> None:
        count("index")
        try_it(damaged(whole, damage))

    @fuzz("values")
    @given(key=st.sampled_from(sorted(content)), value=values(st.sampled_from(sorted(content))), shard=st.booleans(),
           part=st.sampled_from(sorted(content["shards"][0])))  # fmt: skip
    def run_values(key: str, value: Any, shard: bool, part: str) -> None:
        count("values")
        changed = {"shards": [content["shards"][0] | {part: value}, *content["shards"][1:]]} if shard else {key: value}
        try_it(json.dumps(content | changed).encode("utf-8", "surrogatepass"))

    run()
    run_values()


def test_sounds(sounds: list[bytes]) -> None:
    @fuzz("audio")
    @given(number=st.integers(0, len(sounds) - 1), damage=damages, rate=st.sampled_from([16000, 16000, 8000]))
    def run(number: int, damage: list[tuple[str, int, bytes]], rate: int) -> None:
        count("audio")
        with suppress(InputError):
            waveform = read_audio(io.BytesIO(damaged(sounds[number], damage)), rate, max_samples=64000)
            assert waveform.isfinite().all()
            assert 0 < len(waveform) <= 64000 + rate
            assert waveform.abs().max() <= 1

    run()


def test_checkpoints(checkpoints: list[Path], tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("damaged")
    whole = {path.suffix: path.read_bytes() for path in checkpoints}
    good = torch.load(checkpoints[0], weights_only=True)
    names = sorted(good["hyper_parameters"])

    def try_it(path: Path) -> None:
        with suppress(InputError):
            assert isinstance(load_tagger(path), ATGNN)

    @fuzz("checkpoint")
    @given(suffix=st.sampled_from(sorted(whole)), damage=damages)
    def run(suffix: str, damage: list[tuple[str, int, bytes]]) -> None:
        count("checkpoint")
        path = out / f"damaged{suffix}"
        path.unlink(missing_ok=True)  # a mapped file must not be written to
        path.write_bytes(damaged(whole[suffix], damage))
        try_it(path)

    @fuzz("settings")
    @given(name=st.sampled_from(names), value=values(st.sampled_from([*names, "class_path", "blocks", "channels"])),
           part=st.sampled_from(["hyper_parameters", "variant", "atgnn", "state_dict", "all"]))  # fmt: skip
    def run_settings(name: str, value: Any, part: str) -> None:
        count("settings")
        changed = dict(good)
        if part == "variant":
            key = ["kind", "channels", "blocks", "reductions", "head_channels"][len(name) % 5]
            settings_ = good["hyper_parameters"]
            changed["hyper_parameters"] = settings_ | {"variant": settings_["variant"] | {key: value}}
        elif part == "hyper_parameters":
            changed[part] = good[part] | {name: value}
        else:
            changed["hyper_parameters" if part == "all" else part] = value
        path = out / "changed.ckpt"
        path.unlink(missing_ok=True)
        torch.save(changed, path)
        try_it(path)

    run()
    run_settings()


def test_how_many(figure: Callable[..., None]) -> None:
    """Comes last."""
    assert set(tried) == set(SHARES)
    each = ", ".join(f"{number:,} {name}" for name, number in tried.items())
    figure("fuzz", f"{sum(tried.values()):,} inputs ({each}), nothing but our errors")
