"""SLURM's signal before the end of a job waits for the end of the batch at hand."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments import SLURMEnvironment


class WholeSteps(L.Callback):
    """Let SLURM's signal before the end of a job wait for the end of the batch at hand, of all ranks the same one.

    Lightning saves in the moment of the signal, be it between a batch and its step, which the job that goes on would
    then leave out, or in a step that half of the weights have taken. Every ATGNN trains with this callback.
    """

    def __init__(self) -> None:
        self._save: Callable[[], Any] | None = None
        self._asked = False

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Take the signal from Lightning, where this is a job of SLURM that may start again."""
        environment = trainer._accelerator_connector.cluster_environment
        self._save, self._asked = None, False
        if isinstance(environment, SLURMEnvironment) and environment.auto_requeue and environment.requeue_signal:
            handler = signal.getsignal(environment.requeue_signal)
            if callable(handler):
                self._save = partial(handler, environment.requeue_signal, None)
                signal.signal(environment.requeue_signal, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        self._asked = True

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and ask for the job again, once, if any rank was told to."""
        if self._save is not None and trainer.strategy.reduce_boolean_decision(self._asked, all=False):
            self._save()
            self._save = None  # the ranks that are told to later have been served
