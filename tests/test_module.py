from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from atgnn.module import ATGNN

LABELS = ["bell", "cat", "dog", "engine"]
CLIPS = {"waveform": torch.linspace(-1, 1, 3 * 5120).reshape(3, 5120) ** 3, "lengths": torch.tensor([5120, 2000, 1])}


def tiny(**settings: Any) -> ATGNN:
    return ATGNN(**{"labels": LABELS, "variant": "pyramid-nano", "n_mels": 32, "clip_seconds": 0.32, "k": 3} | settings)


def save(model: ATGNN, path: Path) -> Path:
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=path.parent)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path, weights_only=True)
    return path


def test_waveform_in_logits_out() -> None:
    model = tiny().eval()
    logits = model(**CLIPS)
    assert logits.shape == (3, 4)
    assert torch.equal(logits, model.tagger(**CLIPS))
    torch.testing.assert_close(model.predict_step(CLIPS, 0), logits.sigmoid())


@pytest.mark.parametrize("mlg", [True, False])
def test_a_checkpoint_carries_everything(tmp_path: Path, mlg: bool) -> None:
    conv = {"class_path": "atgnn.nn.EdgeConv", "init_args": {}}
    model = tiny(conv=conv, plg=mlg, llg=mlg, f_min=30.0, mean=-3.0, betas=(0.9, 0.99), overlay_events=2, seed=7)
    loaded = ATGNN.load_from_checkpoint(save(model, tmp_path / "model.ckpt"), weights_only=True)
    assert loaded.labels == LABELS
    assert loaded.hparams == model.hparams
    assert (loaded.seed, loaded.betas, loaded.overlay.max_events) == (7, (0.9, 0.99), 2)
    assert torch.equal(loaded.eval()(**CLIPS), model.eval()(**CLIPS))


def test_the_protocol_is_chosen_anew(tmp_path: Path) -> None:
    path = save(tiny(protocol="windows"), tmp_path / "model.ckpt")
    assert ATGNN.load_from_checkpoint(path, weights_only=True).protocol == "first"
    assert ATGNN.load_from_checkpoint(path, weights_only=True, protocol="windows").protocol == "windows"
