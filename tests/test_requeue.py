"""WholeSteps lets SLURM's signal wait for the end of its batch."""

import signal
from types import SimpleNamespace

import pytest
from lightning.fabric.plugins.environments import LightningEnvironment, SLURMEnvironment

from atgnn.requeue import WholeSteps


@pytest.fixture
def saved():
    """Numbers of the signals at which Lightning saved."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGUSR1, before)


def trainer_on(environment, ranks_asked=False):
    def decide(asked, all):
        return asked or ranks_asked

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
    signal.raise_signal(signal.SIGUSR1)  # and this one a moment later
    steps.on_train_batch_end(trainer, None, None, None, 1)
    assert saved == [signal.SIGUSR1]


@pytest.mark.parametrize("environment", [LightningEnvironment(), SLURMEnvironment(auto_requeue=False)])
def test_a_signal_that_is_not_slurms_is_left_alone(saved, environment):
    steps, trainer = WholeSteps(), trainer_on(environment, ranks_asked=True)
    steps.on_train_start(trainer, None)
    steps.on_train_batch_end(trainer, None, None, None, 0)
    assert saved == []
    signal.raise_signal(signal.SIGUSR1)
    assert saved == [signal.SIGUSR1]
