"""ScoreWriter keeps the scores of a test beside its checkpoint; WholeSteps lets a signal wait for its batch."""

import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.fabric.plugins.environments import LightningEnvironment, SLURMEnvironment

from atgnn.callbacks import ScoreWriter, WholeSteps
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


@pytest.fixture
def saved():
    """Numbers of the signals at which Lightning saved."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGUSR1, before)


def trainer_on(environment, ranks_asked=False):
    decide = lambda asked, all: asked or ranks_asked  # noqa: E731
    return SimpleNamespace(
        _accelerator_connector=SimpleNamespace(cluster_environment=environment),
        strategy=SimpleNamespace(reduce_boolean_decision=decide),
    )


def test_a_signal_waits_for_the_end_of_its_batch(saved):
    steps, trainer = WholeSteps(), trainer_on(SLURMEnvironment())
    steps.on_train_start(trainer, None)
    signal.raise_signal(signal.SIGUSR1)
    assert saved == []
    steps.on_train_batch_end(trainer, None, None, None, 0)
    steps.on_train_batch_end(trainer, None, None, None, 1)
    assert saved == [signal.SIGUSR1]


def test_all_ranks_save_after_the_same_batch(saved):
    steps, trainer = WholeSteps(), trainer_on(SLURMEnvironment(), ranks_asked=True)
    steps.on_train_start(trainer, None)
    steps.on_train_batch_end(trainer, None, None, None, 0)  # another rank was told to
    assert len(saved) == 1


@pytest.mark.parametrize("environment", [LightningEnvironment(), SLURMEnvironment(auto_requeue=False)])
def test_a_signal_that_is_not_slurms_is_left_alone(saved, environment):
    steps, trainer = WholeSteps(), trainer_on(environment, ranks_asked=True)
    steps.on_train_start(trainer, None)
    steps.on_train_batch_end(trainer, None, None, None, 0)
    assert saved == []
    signal.raise_signal(signal.SIGUSR1)
    assert saved == [signal.SIGUSR1]
