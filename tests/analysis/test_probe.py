"""The callbacks that look at a model: a run logs what they see, and other rates hold less."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from atgnn import cli
from atgnn.analysis.probe import through_rate
from atgnn.scores import Scores

SMALL = [
    "--data.steps_per_epoch=1", "--trainer.limit_test_batches=1", "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false", "--model.n_mels=32", "--model.clip_seconds=1", "--data.batch_size=4",
]  # fmt: skip


@pytest.mark.slow
def test_a_run_keeps_what_its_callbacks_saw(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    root, clips = pytestconfig.rootpath, tmp_path / "clips"
    assert cli.main(["shards", "write", str(root / "data" / "mini"), str(clips)]) == 0
    overlays = [f"-c={root}/experiments/base.yaml", f"-c={root}/experiments/small/scenes.yaml"]
    callbacks = [
        "--trainer.callbacks+=atgnn.analysis.probe.SceneProbe", f"--trainer.callbacks.clips={clips}",
        "--trainer.callbacks.curves=1",
        "--trainer.callbacks+=atgnn.analysis.cost.Cost", "--trainer.callbacks+=atgnn.analysis.smoothing.Smoothing",
        "--trainer.callbacks+=atgnn.analysis.probe.OtherRates", "--trainer.callbacks.rates=[8000,48000]",
    ]  # fmt: skip
    logger = [f"--trainer.logger.init_args.save_dir={tmp_path}", "--trainer.logger.init_args.name=run"]
    scores = tmp_path / "scores.npz"
    shards = [f"--data.shards={clips}", f"--scores={scores}"]
    assert cli.main(["fit", *overlays, *callbacks, *shards, *logger, *SMALL]) == 0
    logged = Scores.load(scores).about["measures"]
    expected = {
        "test/mAP", "test/cost/latency_ms", "test/energy/05", "test/mAP/08000", "test/mAP/48000", "test/purity/1",
        "test/share/4", "test/weight/4", "test/links", "untrained/purity/1", "test/deletion/plg/0.4",
    }  # fmt: skip
    assert expected <= logged.keys()
    assert "untrained/deletion/plg/0.4" not in logged
    assert logged["test/cost/memory_mb"] > 0.1
    assert logged["test/purity_by_chance/1"] == pytest.approx(logged["untrained/purity_by_chance/1"])


def test_a_lower_rate_loses_what_it_cannot_hold() -> None:
    time = torch.arange(8000) / 16000
    low, high = torch.sin(6.2832 * 500 * time), torch.sin(6.2832 * 6000 * time)
    kept, lost = through_rate(torch.stack((low, high)), 16000, 8000)
    assert (kept - low)[800:-800].abs().max() < 1e-2
    assert lost[800:-800].abs().max() < 1e-2
    up = through_rate(torch.stack((low, high)), 16000, 44100)
    assert (up - torch.stack((low, high)))[:, 800:-800].abs().max() < 1e-2
    assert torch.equal(through_rate(up, 16000, 16000), up)
