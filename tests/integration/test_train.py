"""From recordings to tags by the command alone, as a user types it."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch

from atgnn import ATGNN, cli
from atgnn.audio.files import read_audio
from atgnn.inference.files import hear_sound
from atgnn.scores import Scores


def read_clips(split):
    """Keys and waveforms of a split."""
    for shard in sorted(split.glob("*.tar")):
        with tarfile.open(shard) as tar:
            for name in tar.getnames():
                if name.endswith(".flac"):
                    yield name.removesuffix(".flac"), read_audio(io.BytesIO(tar.extractfile(name).read()), 16000)


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
    assert (scores.protocol, scores.scale) == ("first", "logits")
    assert (run / "metrics.csv").read_text() == curves
    assert cli.main(["predict", *args[1:]]) == 0
    predictions = Scores.load(run / "checkpoints" / "predictions.npz")
    assert predictions.keys == scores.keys
    np.testing.assert_allclose(predictions.scores, 1 / (1 + np.exp(-scores.scores)), atol=1e-6)
    assert cli.main(["probe", str(trained / "scenes"), str(run / "probe.npz"), "--crop-seconds", "1"]) == 0
    score = ["score", str(run / "checkpoints" / "scores.npz"), "--against", str(run / "probe.npz")]
    assert cli.main([*score, "--json-file", str(run / "score.json")]) == 0
    assert json.loads((run / "score.json").read_text())["clips"] == 9


@pytest.mark.slow
def test_whole_clips_are_scored_by_windows(trained, pytestconfig):
    """The model heard scenes of 1 s; here it is tested on the whole recordings they are made of."""
    run = trained / "run"
    args = ["-c", str(run / "config.yaml"), "--ckpt_path", str(run / "checkpoints" / "last.ckpt")]
    args += ["--data.shards", str(trained / "clips")]
    assert cli.main(["predict", *args, "--model.protocol", "windows", "--data.max_clip_seconds", "600"]) == 0
    predictions = Scores.load(run / "checkpoints" / "predictions.npz")
    assert (predictions.protocol, predictions.scale) == ("windows", "probabilities")
    model = ATGNN.load_from_checkpoint(run / "checkpoints" / "last.ckpt", weights_only=True, map_location="cpu").eval()
    index = json.loads((trained / "clips" / "test" / "index.json").read_text())
    assert len(predictions.keys) == index["clips"]
    longest = max(read_clips(trained / "clips" / "test"), key=lambda clip: len(clip[1]))
    assert len(longest[1]) > 16000
    expected = hear_sound(model, longest[1], 16000).windows.pooled()[0].sigmoid()
    np.testing.assert_allclose(predictions.scores[predictions.keys.index(longest[0])], expected, atol=1e-4)
    assert cli.main(["test", *args]) == 0
    assert Scores.load(run / "checkpoints" / "scores.npz").protocol == "first"


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


@pytest.mark.slow
def test_a_run_starts_from_the_weights_of_another(trained, capsys, pytestconfig):
    best = trained / "run" / "checkpoints" / "best.ckpt"
    base = ["-c", str(pytestconfig.rootpath / "experiments" / "base.yaml"), "--data.shards", str(trained / "scenes")]
    logger = ["--trainer.logger.init_args.save_dir", str(trained), "--trainer.logger.init_args.name", "again"]
    steps = ["--trainer.max_steps", "1", "--model.init_args.lr", "0"]
    assert cli.main(["fit", *base, *logger, *SMALL, *steps, "--weights", str(best)]) == 0
    said = capsys.readouterr().out
    assert f"Weights of {best}" in said
    assert "fresh" not in said
    before, after = (
        torch.load(path, weights_only=True)["state_dict"]["tagger.network.head.0.weight"]
        for path in (best, trained / "again" / "version_0" / "checkpoints" / "last.ckpt")
    )
    assert torch.equal(before, after)
