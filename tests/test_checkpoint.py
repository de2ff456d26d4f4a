"""Whole models from and to files."""

import json
import re

import lightning as L
import pytest
import torch
from safetensors.torch import save_file

from atgnn import ATGNN
from atgnn.baselines.cnn import CNN
from atgnn.checkpoint import BUNDLED, load_checkpoint, load_model, load_tagger, pack, save_model
from atgnn.errors import InputError


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    model = ATGNN(["Dog", "Bell, small"], "pyramid-nano", n_mels=32, clip_seconds=0.5, seed=3)
    trainer = L.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(model)
    path = tmp_path_factory.mktemp("run") / "best.ckpt"
    trainer.save_checkpoint(path)
    return path


def test_a_checkpoint_needs_nothing_else(checkpoint):
    waveform = torch.randn(2, 8000)
    model = load_model(checkpoint)
    again = ATGNN.load_from_checkpoint(checkpoint, weights_only=True).eval()
    assert not model.training
    assert model.labels == ["Dog", "Bell, small"]
    torch.testing.assert_close(model(waveform), again(waveform), rtol=0, atol=0)


def test_packed_weights_are_the_same_model(checkpoint, tmp_path):
    pack(checkpoint, tmp_path / "small" / "model.safetensors")
    waveform = torch.randn(1, 8000)
    packed, original = load_model(tmp_path / "small" / "model.safetensors"), load_model(checkpoint)
    torch.testing.assert_close(packed(waveform), original(waveform), rtol=0, atol=0)
    assert dict(packed.hparams) == {k: v for k, v in original.hparams.items() if not k.startswith("_")}
    assert [path.name for path in (tmp_path / "small").iterdir()] == ["model.safetensors"]


def test_the_bundled_network_knows_its_labels():
    assert BUNDLED.is_file()
    assert "Bass drum" in load_model().labels


def test_no_such_file(tmp_path):
    for name in ("absent.ckpt", "absent.safetensors"):
        with pytest.raises(InputError, match="got no such file"):
            load_model(tmp_path / name)


@pytest.mark.parametrize("name", ["noise.ckpt", "noise.safetensors"])
def test_damaged_file(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(range(256)) * 10)
    with pytest.raises(InputError, match="which is not one"):
        load_model(tmp_path / name)


def test_cut_off_checkpoint(checkpoint, tmp_path):
    (tmp_path / "cut.ckpt").write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(InputError, match="which is not one"):
        load_model(tmp_path / "cut.ckpt")


def test_a_checkpoint_of_something_else(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match="which is not one"):
        load_checkpoint(tmp_path / "other.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(InputError, match="which is not one"):
        load_checkpoint(tmp_path / "list.ckpt")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="which is not one"):
        load_model(tmp_path / "other.safetensors")


def test_weights_that_do_not_fit_the_settings(tmp_path):
    settings = {"labels": ["Dog"], "variant": "pyramid-nano", "clip_seconds": 0.5, "n_mels": 32}
    save_file({"x": torch.zeros(1)}, tmp_path / "m.safetensors", metadata={"atgnn": json.dumps(settings)})
    with pytest.raises(InputError, match="does not fit"):
        load_model(tmp_path / "m.safetensors")


class _Evil:
    def __reduce__(self):
        return (pytest.fail, ("a pickle in a checkpoint was run",))


def test_nothing_in_a_checkpoint_is_run(tmp_path):
    torch.save({"state_dict": {}, "hyper_parameters": _Evil(), "atgnn": {}}, tmp_path / "evil.ckpt")
    with pytest.raises(InputError, match="which is not one"):
        load_model(tmp_path / "evil.ckpt")


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_a_baseline_is_loaded_as_what_it_is(tmp_path, suffix):
    model = CNN(["Dog", "Rain"], "vgg", n_mels=32, clip_seconds=0.5).eval()
    save_model(model, tmp_path / f"cnn{suffix}")
    again = load_tagger(tmp_path / f"cnn{suffix}")
    assert isinstance(again, CNN)
    waveform = torch.randn(1, 8000)
    torch.testing.assert_close(again(waveform), model(waveform), rtol=0, atol=0)
    with pytest.raises(InputError, match=r"expected an ATGNN checkpoint, got .* of CNN; only"):
        load_model(tmp_path / f"cnn{suffix}")


@pytest.mark.parametrize("class_path", ["pickle.loads", "atgnn.tagging.TaggingModule", 3])
def test_a_file_cannot_choose_what_is_run(tmp_path, class_path):
    about = {"state_dict": {}, "hyper_parameters": {}, "atgnn": {"class_path": class_path}}
    torch.save(about, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=r"expected a model of this package in .*other\.ckpt, got one of class"):
        load_tagger(tmp_path / "other.ckpt")


SETTINGS = {"labels": ["Dog"], "variant": "pyramid-nano", "clip_seconds": 0.5, "n_mels": 32}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv": {"class_path": "antigravity.Convolution"}}, "names 'antigravity.Convolution', which is not of this"),
        (
            {"graph": {"class_path": "atgnn.nn.KNNGraph", "init_args": {"x": [{"class_path": "os.system"}]}}},
            "'os.system'",
        ),
        ({"depth": 10**9}, "it has 1000000000 blocks"),
        ({"variant": {"blocks": [1, 10**9]}}, "it has 1000000000 blocks"),
        ({"n_mels": 10**9}, "network.position.weight is"),
        ({"clip_seconds": 1e12}, "network.position.weight is"),
        ({"sample_rate": 10**11}, "more memory than its weights"),
    ],
)
def test_settings_that_lead_elsewhere_are_refused_before_anything_is_made(tmp_path, change, message):
    state = ATGNN(**SETTINGS).state_dict()
    save_file(state, tmp_path / "m.safetensors", metadata={"atgnn": json.dumps(SETTINGS | change)})
    with pytest.raises(InputError, match=re.escape(message)):
        load_model(tmp_path / "m.safetensors")
    save_file(state, tmp_path / "good.safetensors", metadata={"atgnn": json.dumps(SETTINGS)})
    assert load_model(tmp_path / "good.safetensors").labels == ["Dog"]
