"""The label graph against the data: co-occurrence by hand, and a graph that was set to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from atgnn.analysis.label_graph import co_occurrence, label_graph, off_diagonal
from atgnn.analysis.truth import KnownScene
from atgnn.module import ATGNN

# b never without a, c alone.
TARGETS = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]])


def test_co_occurrence_by_hand() -> None:
    assert co_occurrence(TARGETS)[0].tolist() == [0.25, 0.25, -0.75]
    assert co_occurrence(TARGETS)[1].tolist() == pytest.approx([2 / 3 - 1 / 2, 1 / 2, -1 / 2])
    assert off_diagonal(np.arange(9).reshape(3, 3)).tolist() == [1, 2, 3, 5, 6, 7]


def test_a_graph_that_is_the_co_occurrence_correlates_fully() -> None:
    model = ATGNN(["a", "b", "c"], "pyramid-nano", n_mels=32, clip_seconds=0.5).eval()
    blocks = [stage.support[0] for stage in model.network.label_stages]
    with torch.no_grad():
        blocks[0].weight.copy_(torch.from_numpy(co_occurrence(TARGETS)))
        blocks[1].weight.copy_(-torch.from_numpy(co_occurrence(TARGETS)))
    measures = label_graph(model, TARGETS)
    assert measures["weight/1"] == pytest.approx(1)
    assert measures["weight/2"] == pytest.approx(-1)
    assert set(measures) == {f"weight/{number}" for number in range(1, 5)}


def test_links_are_what_a_label_adds_where_it_is_heard() -> None:
    model = ATGNN(["a", "b", "c"], "pyramid-nano", n_mels=32, clip_seconds=0.5).eval()
    scenes = [
        KnownScene(torch.randn(1, 1, 32, 50), torch.ones(1, 32, 50), [{"labels": labels}])
        for labels in (["a", "b"], ["c"], ["a"], ["b", "c"])
    ]
    inputs = []
    last = model.network.label_stages[-1].support[-1]
    hook = last.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    with torch.no_grad():
        logits = [model.network(model.tagger.frontend.normalize(scene.log_mel)).label_logits[0] for scene in scenes]
    hook.remove()
    links = last(torch.eye(3)) * (model.network.label_readout @ torch.stack(inputs).transpose(1, 2))
    torch.testing.assert_close(links.sum(-1), torch.stack(logits), atol=1e-3, rtol=1e-4)  # a logit sums its links
    there = [[0, 2], [0, 3], [1, 3]], [[1, 3], [1, 2], [0, 2]]
    change = [
        links[yes][:, :, j].mean(0) - links[no][:, :, j].mean(0) for j, (yes, no) in enumerate(zip(*there, strict=True))
    ]
    expected = spearmanr(
        off_diagonal(torch.stack(change, 1).detach().numpy()), off_diagonal(co_occurrence(TARGETS))
    ).statistic
    assert label_graph(model, TARGETS, scenes)["links"] == pytest.approx(expected)
