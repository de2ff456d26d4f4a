"""Learning rates over a run, as factors of the optimiser's own."""

from __future__ import annotations

import math
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

Decay = Literal["step", "cosine"]


def learning_rate_factor(
    step: int,
    *,
    warmup_steps: int,
    steps_per_epoch: int,
    total_steps: int,
    decay: Decay = "step",
    decay_start: int = 10,
    decay_every: int = 5,
) -> float:
    """Factor of the learning rate at a step: a linear warm-up, times the decay.

    Args:
        step: optimiser steps taken so far.
        warmup_steps: steps over which the rate grows linearly.
        steps_per_epoch: optimiser steps of an epoch.
        total_steps: optimiser steps of the whole run.
        decay: "step" halves the rate at epoch ``decay_start`` and every ``decay_every`` epochs after (the paper's);
            "cosine" lets it fall to zero at the end of the run.
        decay_start: first epoch, counted from 0, at half the rate.
        decay_every: epochs between halvings.
    """
    warmup = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    if decay == "cosine":
        progress = min(1.0, max(0, step - warmup_steps) / max(1, total_steps - warmup_steps))
        return warmup * 0.5 * (1 + math.cos(math.pi * progress))
    epoch = step // max(1, steps_per_epoch)
    return warmup * 0.5 ** max(0, (epoch - decay_start) // decay_every + 1)


class Schedule(LambdaLR):
    """A scheduler that sets :func:`learning_rate_factor` after every optimiser step.

    Args:
        optimizer: whose learning rate is set.
        settings: keyword arguments of :func:`learning_rate_factor`.
    """

    def __init__(self, optimizer: Optimizer, **settings: object) -> None:
        self.settings = settings
        super().__init__(optimizer, self._factor)

    def _factor(self, step: int) -> float:
        return learning_rate_factor(step, **self.settings)  # type: ignore[arg-type]
