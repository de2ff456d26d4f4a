"""A time line of tags."""

import numpy as np
import torch

from atgnn import ATGNN
from atgnn.inference.files import Hearing
from atgnn.inference.timeline import moments, timeline


def test_a_moment_has_the_largest_score_of_its_windows():
    scores = torch.tensor([[0.1, 0.9], [0.5, 0.2], [0.3, 0.3]])
    edges, held = moments(torch.tensor([0, 4, 6]), torch.tensor([8, 12, 14]), scores)
    assert edges.tolist() == [0, 4, 6, 8, 12, 14]
    np.testing.assert_allclose(held[:, 0], [0.1, 0.5, 0.5, 0.5, 0.3], rtol=1e-6)
    np.testing.assert_allclose(held[:, 1], [0.9, 0.9, 0.9, 0.3, 0.3], rtol=1e-6)


def test_stretches_above_the_threshold():
    model = ATGNN(["Dog", "Bell"], "pyramid-nano", n_mels=32, clip_seconds=1)
    logits = [torch.tensor(pair) for pair in ([3.0, -3.0], [-3.0, -3.0], [-3.0, -3.0], [2.0, -3.0], [4.0, 0.0])]
    hearing = Hearing("a", [0, 8000, 16000, 24000, 30000], logits, 46000)
    tags = timeline(model, hearing, 0.5)
    assert [(tag.label, tag.start, tag.end) for tag in tags] == [
        ("Dog", 0, 1), ("Dog", 1.5, 2.875), ("Bell", 1.875, 2.875),
    ]  # fmt: skip
    np.testing.assert_allclose([tag.score for tag in tags], torch.tensor([3.0, 4.0, 0.0]).sigmoid())
