"""From recordings to tags by the command alone, as a user types it."""

import json

import numpy as np
import pytest
import torch

from atgnn import ATGNN, cli
from atgnn.scores import Scores

SMALL = [
    "--model.init_args.variant", "pyramid-nano", "--model.init_args.n_mels", "32",
    "--model.init_args.warmup_steps", "2",
    "--model.init_args.clip_seconds", "1", "--data.workers", "0", "--data.batch_size", "8",
    "--trainer.max_epochs", "2", "--trainer.accelerator", "cpu", "--trainer.devices", "1",
    "--trainer.enable_progress_bar", "false",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory, pytestconfig):
    """Shards, scenes and a run of two short epochs on data/mini."""
    root, folder = pytestconfig.rootpath, tmp_path_factory.mktemp("train")
    clips, scenes = str(folder / "clips"), str(folder / "scenes")
    assert cli.main(["shards", "write", str(root / "data" / "mini"), clips]) == 0
    counts = ["--scenes.train", "24", "--scenes.val", "6", "--scenes.test", "9"]
    assert cli.main(["shards", "mix", clips, scenes, "--duration", "1", *counts]) == 0
    logger = ["--trainer.logger.init_args.save_dir", str(folder), "--trainer.logger.init_args.version", ""]
    base = ["-c", str(root / "experiments" / "base.yaml"), "--data.shards", scenes, *logger]
    assert cli.main(["fit", *base, "--trainer.logger.init_args.name", "run", *SMALL]) == 0
    return folder


@pytest.mark.slow
def test_fit_leaves_checkpoints_and_curves(trained):
    best = trained / "run" / "checkpoints" / "best.ckpt"
    model = ATGNN.load_from_checkpoint(best, weights_only=True)
    assert len(model.labels) == 7
    assert (trained / "run" / "checkpoints" / "last.ckpt").is_file()
    header = (trained / "run" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"val/mAP", "val/loss", "epoch"} <= set(header)
    about = torch.load(best, weights_only=True)["atgnn"]
    assert about["sample_rate"] == 16000
    assert about["clip_seconds"] == 1
    assert len(about["manifest_hash"]) == 64


@pytest.mark.slow
def test_test_scores_every_clip_and_keeps_the_curves(trained):
    run = trained / "run"
    curves = (run / "metrics.csv").read_text()
    checkpoint = run / "checkpoints" / "best.ckpt"
    args = ["test", "-c", str(run / "config.yaml"), "--ckpt_path", str(checkpoint)]
    assert cli.main(args) == 0
    scores = Scores.load(run / "checkpoints" / "scores.npz")
    assert len(scores.keys) == len(set(scores.keys)) == 9
    assert ((scores.scores >= 0) & (scores.scores <= 1)).all()
    assert (run / "metrics.csv").read_text() == curves
    assert cli.main(["predict", *args[1:]]) == 0
    predictions = Scores.load(run / "checkpoints" / "predictions.npz")
    assert predictions.keys == scores.keys
    np.testing.assert_allclose(predictions.scores, scores.scores, atol=1e-6)
    assert cli.main(["probe", str(trained / "scenes"), str(run / "probe.npz"), "--crop-seconds", "1"]) == 0
    score = ["score", str(run / "checkpoints" / "scores.npz"), "--against", str(run / "probe.npz")]
    assert cli.main([*score, "--json-file", str(run / "score.json")]) == 0
    assert json.loads((run / "score.json").read_text())["clips"] == 9


@pytest.mark.slow
def test_resume_goes_on_where_it_stopped(trained, tmp_path):
    run = trained / "run"
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    logger = ["--trainer.logger.init_args.save_dir", str(tmp_path)]
    args = ["fit", "-c", str(run / "config.yaml"), "--ckpt_path", str(run / "checkpoints" / "last.ckpt"), *logger]
    assert cli.main([*args, "--trainer.max_epochs", "3"]) == 0
    again = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert again["global_step"] == last["global_step"] * 3 // 2


@pytest.mark.slow
def test_tag_with_the_new_checkpoint(trained, pytestconfig, capsys):
    clip = pytestconfig.rootpath / "data" / "mini" / "clips" / "loop_tabla.flac"
    checkpoint = trained / "run" / "checkpoints" / "best.ckpt"
    args = ["tag", str(clip), "--checkpoint", str(checkpoint), "--format", "json", "--top", "7"]
    assert cli.main([*args, "--picture", str(trained / "tags.png")]) == 0
    assert len(json.loads(capsys.readouterr().out)[str(clip)]) == 7
    assert (trained / "tags.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("command", ["test", "fit"])
def test_labels_of_data_and_checkpoint_differ(trained, command, pytestconfig, capsys):
    other = trained / f"other-{command}"
    assert cli.main(["shards", "write", str(pytestconfig.rootpath / "data/mini"), str(other), "--min-clips", "12"]) == 0
    config, checkpoint = (trained / "run" / name for name in ("config.yaml", "checkpoints/last.ckpt"))
    args = [command, "-c", str(config), "--ckpt_path", str(checkpoint), "--data.shards", str(other)]
    assert cli.main(args) == 2
    said = capsys.readouterr().err
    assert "missing: " in said
    assert "Traceback" not in said
