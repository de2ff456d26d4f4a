from __future__ import annotations

import pytest
import torch

from atgnn.schedule import Schedule, learning_rate_factor

RUN = {"warmup_steps": 0, "steps_per_epoch": 10, "total_steps": 200}


def test_warm_up_is_linear() -> None:
    factors = [learning_rate_factor(step, **RUN | {"warmup_steps": 4}) for step in range(6)]
    assert factors == [0.25, 0.5, 0.75, 1, 1, 1]


def test_the_published_rate_halves_at_epoch_10_and_every_5_after() -> None:
    by_epoch = [learning_rate_factor(10 * epoch, **RUN) for epoch in range(21)]
    assert by_epoch == [1] * 10 + [0.5] * 5 + [0.25] * 5 + [0.125]
    assert learning_rate_factor(99, **RUN) == 1


def test_halving_follows_its_settings() -> None:
    factors = [learning_rate_factor(10 * epoch, **RUN, decay_start=2, decay_every=1) for epoch in range(5)]
    assert factors == [1, 1, 0.5, 0.25, 0.125]


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.05), (19, 1), (20, 1), (65, 0.853553), (110, 0.5), (200, 0), (300, 0)]
)
def test_cosine_falls_to_zero_after_the_warm_up(step: int, expected: float) -> None:
    factor = learning_rate_factor(step, **RUN | {"warmup_steps": 20}, decay="cosine")
    assert factor == pytest.approx(expected, abs=1e-6)


def test_cosine_survives_a_warm_up_longer_than_the_run() -> None:
    assert learning_rate_factor(300, warmup_steps=400, steps_per_epoch=1, total_steps=300, decay="cosine") == 301 / 400


@pytest.mark.parametrize("decay", ["step", "cosine"])
def test_schedule_sets_the_rate_of_every_step(decay: str) -> None:
    settings = {"warmup_steps": 3, "steps_per_epoch": 2, "total_steps": 30, "decay": decay}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.2)
    schedule = Schedule(optimizer, **settings)
    for step in range(30):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2 * learning_rate_factor(step, **settings))
        optimizer.step()
        schedule.step()
