"""Tagging of recordings of any length, rate and number of channels."""

import numpy as np
import pytest
import soundfile
import torch

from atgnn import ATGNN
from atgnn.errors import InputError
from atgnn.inference.files import Tag, cut_windows, hear, hear_sound
from atgnn.windows import tag_windows, window_places


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return ATGNN(["Dog", "Bell", "Rain"], "pyramid-nano", n_mels=32, clip_seconds=0.5).eval()


def noise(samples, seed=1):
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed)).clamp(-3, 3)


@torch.inference_mode()
def scores(model, waveform, batch_size=2):
    """Without files, blocks and threads: all windows of a waveform at once."""
    windows = tag_windows(model.score, waveform[None], torch.tensor([len(waveform)]), 8000, batch_size)
    return windows.pooled()[0].sigmoid()


def test_the_score_is_the_largest_of_the_windows(model):
    waveform = noise(20000)
    one_by_one = [model(waveform[None, start : start + 8000]).sigmoid()[0] for start in (0, 4000, 8000, 12000)]
    expected = torch.stack(one_by_one).amax(0)
    heard = hear_sound(model, waveform, 16000).windows.pooled()[0].sigmoid()
    torch.testing.assert_close(heard, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 399, 8000, 12000, 12001, 30001])
def test_blocks_of_any_length_are_heard_as_the_whole(model, samples):
    waveform = noise(samples)
    heard = hear_sound(model, waveform, 16000)
    assert heard.starts == window_places(torch.tensor([samples]), 8000)[1].tolist()
    torch.testing.assert_close(heard.windows.pooled()[0].sigmoid(), scores(model, waveform))
    (again,) = hear(model, [("a", waveform.split(777))], batch_size=3)
    assert again.starts == heard.starts
    torch.testing.assert_close(again.windows.logits, heard.windows.logits, rtol=1e-4, atol=1e-5)


def test_windows_hold_little_of_a_long_recording():
    blocks = (torch.zeros(480_000) for _ in range(100))
    assert sum(1 for _ in cut_windows(blocks, 160_000)) == 599


def test_recordings_share_batches_and_come_in_order(model):
    sounds = {f"{n}": noise(samples, n) for n, samples in enumerate([100, 20000, 8000, 9000])}

    def broken():
        yield noise(9000)
        raise InputError("cut short")

    given = [*((name, [sound]) for name, sound in sounds.items()), ("broken", broken()), ("last", [noise(10)])]
    heard = list(hear(model, given, batch_size=4))
    assert [hearing.name for hearing in heard] == ["0", "1", "2", "3", "broken", "last"]
    assert [str(hearing.error) for hearing in heard if hearing.error] == ["cut short"]
    for hearing in heard[:4]:
        torch.testing.assert_close(hearing.windows.pooled()[0].sigmoid(), scores(model, sounds[hearing.name]))


def test_batches_beside_each_other_are_heard_as_one_by_one(model):
    alone = hear_sound(model, noise(100_000), 16000)
    torch.set_num_threads(3)
    beside = hear_sound(model, noise(100_000), 16000)
    assert torch.get_num_threads() == 3
    assert beside.starts == alone.starts
    torch.testing.assert_close(beside.windows.logits, alone.windows.logits, rtol=1e-4, atol=1e-5)


def test_a_failure_of_the_network_is_not_lost_among_threads(model, monkeypatch):
    monkeypatch.setattr(model, "score", None)
    torch.set_num_threads(2)
    with pytest.raises(TypeError, match="not callable"):
        hear_sound(model, noise(100_000), 16000)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("name", "rate", "channels"),
    [("a.wav", 16000, 1), ("b.flac", 44100, 2), ("c.ogg", 48000, 2), ("d.mp3", 22050, 1), ("e.wav", 8000, 6)],
)
def test_any_format_rate_and_channels(model, tmp_path, name, rate, channels):
    time = np.arange(rate) / rate
    soundfile.write(tmp_path / name, np.tile(0.3 * np.sin(880 * np.pi * time)[:, None], (1, channels)), rate)
    tags = model.tag(tmp_path / name)
    assert sorted(tag.label for tag in tags) == ["Bell", "Dog", "Rain"]
    assert [tag.score for tag in tags] == sorted((tag.score for tag in tags), reverse=True)
    assert isinstance(tags[0], Tag)
    assert (tags[0].start, tags[0].end) == (0, pytest.approx(1, abs=0.1))


def test_a_waveform_is_a_file_without_the_file(model, tmp_path):
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (30000, 2))
    soundfile.write(tmp_path / "a.wav", sound, 44100, subtype="FLOAT")
    from_file, from_tensor = model.tag(tmp_path / "a.wav"), model.tag(torch.from_numpy(sound.T), 44100)
    assert [tag.label for tag in from_file] == [tag.label for tag in from_tensor]
    np.testing.assert_allclose([t.score for t in from_file], [t.score for t in from_tensor], atol=1e-5)


def test_bad_sounds(model, tmp_path):
    with pytest.raises(InputError, match=r"absent\.wav"):
        model.tag(tmp_path / "absent.wav")
    (tmp_path / "text.wav").write_text("not a sound")
    with pytest.raises(InputError, match=r"text\.wav"):
        model.tag(tmp_path / "text.wav")
    for sound, rate in ((torch.zeros(5), None), (torch.zeros(0), 16000), (torch.full((5,), torch.nan), 16000)):
        with pytest.raises(InputError, match="expected a path, or finite samples"):
            model.tag(sound, rate)
