"""Agreement: model, data and checkpoint fit each other, or one sentence says where they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from atgnn.errors import InputError


def check_labels(what: str, theirs: Sequence[str], own: Sequence[str], advice: str) -> None:
    """Refuse other labels, or the same in another order."""
    if list(theirs) == list(own):
        return
    missing = [label for label in own if label not in theirs]
    unknown = [label for label in theirs if label not in own]
    raise InputError(
        f"expected {what} with the model's {len(own)} labels in its order, got {len(theirs)} labels "
        f"(missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}); {advice}"
    )


def check_data(data: object, labels: Sequence[str], sample_rate: int, protocol: str) -> None:
    """Refuse a data module whose labels, sample rate or protocol, where it has them, are not the model's."""
    rate = getattr(data, "sample_rate", sample_rate)
    if rate != sample_rate:
        raise InputError(
            f"expected clips at the model's {sample_rate} Hz, got {rate} Hz; "
            f"write the shards with --sample-rate {sample_rate}"
        )
    evaluated = getattr(data, "protocol", protocol)
    if evaluated != protocol:
        raise InputError(
            f"expected data for the model's protocol {protocol!r}, got {evaluated!r}; give both the same protocol"
        )
    theirs = getattr(data, "labels", None)
    if theirs is not None:
        check_labels("shards", theirs, labels, "write the shards with --labels, or train a model on these labels")


def check_state(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Refuse weights of other names or shapes, naming the first differences."""
    wrong = [f"{key} is missing" for key in own if key not in state]
    wrong += [f"{key} is unknown" for key in state if key not in own]
    wrong += [
        f"{key} is {tuple(state[key].shape)}, not {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise InputError(
            f"expected a checkpoint of this model, got one in which {'; '.join(wrong[:3])}{more}; "
            "use the settings it was trained with"
        )
