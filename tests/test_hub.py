"""Hugging Face's layout: safetensors, config and model card in a folder, and back, without a network."""

import json

import pytest
import torch

from atgnn import ATGNN, InputError
from atgnn.checkpoint import load_model


def test_a_folder_and_back(tmp_path):
    torch.manual_seed(0)
    model = ATGNN(["Dog", "Whoosh, swoosh"], "pyramid-nano", n_mels=32, clip_seconds=0.5, lr=0.1).eval()
    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    assert "audio-classification" in (tmp_path / "README.md").read_text()
    assert json.loads((tmp_path / "config.json").read_text())["labels"] == model.labels
    again = ATGNN.from_pretrained(tmp_path)
    assert again.labels == model.labels
    assert again.hparams == model.hparams
    waveform = torch.randn(2, 8000)
    torch.testing.assert_close(again(waveform), model(waveform))


def test_the_bundled_network_can_be_given_away(tmp_path):
    model = load_model()
    model.save_pretrained(tmp_path / "mini")
    assert ATGNN.from_pretrained(str(tmp_path / "mini")).labels == model.labels


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(InputError, match=r"expected a checkpoint at .*model\.safetensors"):
        ATGNN.from_pretrained(tmp_path)
