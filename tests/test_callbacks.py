"""ScoreWriter keeps the scores of a test beside its checkpoint."""

from types import SimpleNamespace

import numpy as np
import torch

from atgnn.callbacks import ScoreWriter
from atgnn.scores import Scores


def run(writer: ScoreWriter, trainer: SimpleNamespace) -> None:
    module = SimpleNamespace(labels=["a", "b"], protocol="first")
    for keys, mask in ((["p", "q"], [True, True]), (["r", ""], [True, False])):
        batch = {"key": keys, "mask": torch.tensor(mask), "targets": torch.tensor([[1.0, 0.0], [0.0, 1.0]])}
        writer.on_test_batch_end(trainer, module, torch.tensor([[0.9, 0.1], [0.2, 0.8]]), batch, 0)
    writer.on_test_end(trainer, module)


def test_scores_lie_beside_the_checkpoint_without_fillers(tmp_path):
    trainer = SimpleNamespace(ckpt_path=str(tmp_path / "best.ckpt"), log_dir=None, world_size=1, global_rank=0)
    run(ScoreWriter(), trainer)
    scores = Scores.load(tmp_path / "scores.npz")
    assert scores.keys == ["p", "q", "r"]
    assert scores.labels == ["a", "b"]
    assert (scores.protocol, scores.scale) == ("first", "logits")
    np.testing.assert_allclose(scores.scores, [[0.9, 0.1], [0.2, 0.8], [0.9, 0.1]], rtol=1e-6)


def test_each_process_writes_its_own_file(tmp_path):
    trainer = SimpleNamespace(ckpt_path=None, log_dir=str(tmp_path), world_size=2, global_rank=1)
    run(ScoreWriter(), trainer)
    assert (tmp_path / "scores-1.npz").is_file()
