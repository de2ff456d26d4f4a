"""Does the label graph learn which labels come together?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from atgnn.analysis.quality import rank_correlation
from atgnn.analysis.truth import KnownScene
from atgnn.module import ATGNN


def co_occurrence(targets: np.ndarray) -> np.ndarray:
    """How much more often label i is there where j is: P(i | j) − P(i), (S, S), of targets (B, S)."""
    both = targets.T.astype(float) @ targets
    share = targets.mean(0)
    conditional = both / np.maximum(np.diag(both), 1)
    excess: np.ndarray = conditional - share[:, None]
    return excess


def off_diagonal(matrix: np.ndarray) -> np.ndarray:
    """All entries of (S, S) that link different labels."""
    return matrix[~np.eye(len(matrix), dtype=bool)]


@torch.inference_mode()
def label_graph(model: ATGNN, targets: np.ndarray, scenes: Iterable[KnownScene] = ()) -> dict[str, float]:
    """Rank correlations of the learned label graph with the co-occurrence of the training labels.

    ``weight/1`` … correlates A of each block. A links vectors whose signs mean nothing by themselves; ``links``
    correlates what they come to in the last block: what label j adds to the logit of label i where j is heard, less
    where it is not, over the scenes.

    Args:
        model: in eval mode, with labels that support each other.
        targets: (B, S), of the training clips.
        scenes: of :func:`~atgnn.analysis.truth.known_scenes`; without any there is no ``links``.
    """
    expected = off_diagonal(co_occurrence(targets))
    network = model.network
    blocks = [block for stage in network.label_stages for block in cast(Any, stage).support]
    measures = {
        f"weight/{number}": rank_correlation(off_diagonal(block.weight.numpy()), expected)
        for number, block in enumerate(blocks, start=1)
    }
    inputs: list[Tensor] = []
    hook = cast(nn.Module, blocks[-1]).register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    heard: list[list[bool]] = []
    for scene in scenes:
        network(model.tagger.frontend.normalize(scene.log_mel))
        heard.append([label in scene.labels() for label in model.labels])
    hook.remove()
    if heard:
        there = torch.tensor(heard).float()
        of_label = torch.einsum("ic,njc->nij", cast(Tensor, network.label_readout), torch.stack(inputs))
        links = blocks[-1](torch.eye(len(model.labels))) * of_label
        with_j = (links * there.unsqueeze(1)).sum(0) / there.sum(0).clamp(min=1)
        without_j = (links * (1 - there).unsqueeze(1)).sum(0) / (1 - there).sum(0).clamp(min=1)
        measures["links"] = rank_correlation(off_diagonal((with_j - without_j).numpy()), expected)
    return measures
