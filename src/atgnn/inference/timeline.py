"""A time line of tags: from when to when each label is heard."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from atgnn.inference.files import Hearing, Tag
from atgnn.tagging import TaggingModule


def timeline(model: TaggingModule, hearing: Hearing, threshold: float) -> list[Tag]:
    """Stretches of time in which a label's score is at least ``threshold``, by start.

    At each moment a label's score is the largest of the windows that cover it, so a stretch is as long as a window at
    least; a tag's score is the largest of its stretch.
    """
    rate = model.tagger.frontend.sample_rate
    size = round(model.clip_seconds * rate)
    windows = hearing.windows
    edges, held = moments(windows.start, (windows.start + size).clamp(max=hearing.samples), windows.logits.sigmoid())
    tags = []
    for label, scores in zip(model.labels, held.T, strict=True):
        on = np.flatnonzero(np.diff(scores >= threshold, prepend=False, append=False))
        for first, last in on.reshape(-1, 2):
            score = float(scores[first:last].max())
            tags.append(Tag(label, score, float(edges[first] / rate), float(edges[last] / rate)))
    return sorted(tags, key=lambda tag: (tag.start, -tag.score))


def moments(start: Tensor, end: Tensor, scores: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Cut time where windows begin or end; a moment has the largest score of the windows that cover it.

    Shape:
        start, end: (W,), ascending.
        scores: (W, S).
        returns: edges (P + 1,) and scores (P, S) of the P moments between them.
    """
    starts, ends = start.cpu().numpy(), end.cpu().numpy()
    edges = np.unique(np.concatenate((starts, ends)))
    first = np.searchsorted(ends, edges[1:])  # windows first … last - 1 cover a moment
    last = np.searchsorted(starts, edges[:-1], side="right")
    values = scores.cpu().numpy()
    covered = [values[a:b].max(axis=0) for a, b in zip(first, last, strict=True)]
    return edges, np.stack(covered)
