"""Model, data and checkpoint fit each other, or one sentence says where they do not."""

from types import SimpleNamespace

import pytest
import torch

from atgnn.agreement import check_data, check_labels, check_state
from atgnn.errors import InputError

LABELS = ["bell", "cat", "dog"]


def test_what_agrees_passes():
    check_labels("shards", ("bell", "cat", "dog"), LABELS, "advice")
    check_data(SimpleNamespace(labels=LABELS, sample_rate=16000, protocol="first"), LABELS, 16000, "first")
    check_data(None, LABELS, 16000, "windows")
    check_state({"a": torch.zeros(2)}, {"a": torch.ones(2)})


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (
            LABELS[::-1],
            r"with the model's 3 labels in its order, got 3 labels \(missing: none; unknown: none\); advice",
        ),
        (["bell", "wind"], r"got 2 labels \(missing: cat, dog; unknown: wind\)"),
    ],
)
def test_other_labels(theirs, message):
    with pytest.raises(InputError, match=message):
        check_labels("shards", theirs, LABELS, "advice")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"sample_rate": 8000}, "expected clips at the model's 16000 Hz, got 8000 Hz; write the shards with"),
        ({"protocol": "windows"}, "expected data for the model's protocol 'first', got 'windows'; give both the same"),
        ({"labels": ["bell"]}, "expected shards with the model's 3 labels"),
    ],
)
def test_other_data(data, message):
    with pytest.raises(InputError, match=message):
        check_data(SimpleNamespace(**data), LABELS, 16000, "first")


def test_other_weights():
    own = {name: torch.zeros(2) for name in "abcde"}
    state = {"a": torch.zeros(3), "x": torch.zeros(1)}
    message = r"got one in which b is missing; c is missing; d is missing and 3 more; use the settings it was trained"
    with pytest.raises(InputError, match=message):
        check_state(state, own)
