"""The recipes of the published data sets run from the files as they are downloaded to a test, on a few clips."""

import json

import pytest

from atgnn import cli
from atgnn.scores import Scores

SMALL = [
    "--model.init_args.variant", "pyramid-nano", "--model.init_args.n_mels", "32",
    "--model.init_args.clip_seconds", "1", "--data.workers", "0", "--data.batch_size", "4",
    "--data.steps_per_epoch", "2", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu",
    "--trainer.devices", "1", "--trainer.enable_progress_bar", "false",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "overlays", "train", "tested"),
    [
        ("fsd50k", ["fsd50k/fsd50k"], "train", 6),
        ("audioset", ["audioset/balanced"], "balanced_train", 8),
        ("audioset", ["audioset/balanced", "audioset/full"], "unbalanced_train", 8),
    ],
    ids=["fsd50k", "balanced", "full"],
)
def test_a_recipe_runs(source, overlays, train, tested, request, tmp_path, pytestconfig, capsys):
    shards, experiments = str(tmp_path / "shards"), pytestconfig.rootpath / "experiments"
    assert cli.main(["shards", "write", str(request.getfixturevalue(source)), shards]) == 0
    assert cli.main(["shards", "stats", shards, "--split", train, "--n-mels", "32", "--clip-seconds", "1"]) == 0
    printed = capsys.readouterr().out.splitlines()[-2:]
    kept = json.loads((tmp_path / "shards" / "stats.json").read_text())[train]
    assert printed == [f"mean: {kept['mean']:.4f}", f"std: {kept['std']:.4f}"]
    configs = [part for name in ("base", *overlays) for part in ("-c", str(experiments / f"{name}.yaml"))]
    logger = ["--trainer.logger.init_args.save_dir", str(tmp_path), "--trainer.logger.init_args.name", "run"]
    assert cli.main(["fit", *configs, "--data.shards", shards, *logger, *SMALL]) == 0
    run = tmp_path / "run"
    assert "val/mAP" in (run / "metrics.csv").read_text()
    assert (
        cli.main(["test", "-c", str(run / "config.yaml"), "--ckpt_path", str(run / "checkpoints" / "best.ckpt")]) == 0
    )
    scores = Scores.load(run / "checkpoints" / "scores.npz")
    assert len(set(scores.keys)) == tested
