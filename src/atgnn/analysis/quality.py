"""Is the feature space good enough for k-NN: do patches of one event lie together, and are they linked?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score, silhouette_score
from torch import Tensor, nn

from atgnn.analysis.truth import KnownScene, mean_over
from atgnn.inference.embed import patch_frames
from atgnn.module import ATGNN
from atgnn.nn.construct import own_cell
from atgnn.nn.graph import Neighbors
from atgnn.nn.position import Grid


def purity(
    graph: Neighbors | Tensor, target_event: Tensor, source_event: Tensor, own: Tensor
) -> tuple[float, float, float]:
    """Share of links that lead to the target's own event, what links at random would have, and links per target.

    Links to a target's own cell, and from and to cells that belong to no event, do not count.

    Args:
        graph: Neighbors, or edge_index with row 0 the source.
        target_event: event of every target, −1 for none.
        source_event: event of every source, −1 for none.
        own: the source that is or holds each target.

    Shape:
        target_event, own: (N,).
        source_event: (M,).
    """
    source, target = graph.edge_index if isinstance(graph, Neighbors) else graph
    edges = source.numel() / target_event.numel()
    counts = (source != own[target]) & (target_event[target] >= 0) & (source_event[source] >= 0)
    same = (source_event[source] == target_event[target])[counts].float().mean()
    others = torch.ones(len(target_event), len(source_event), dtype=torch.bool)
    others[torch.arange(len(own)), own] = False
    others &= (target_event >= 0).unsqueeze(1) & (source_event >= 0)
    chance = (target_event.unsqueeze(1) == source_event)[others].float().mean()
    return float(same), float(chance), edges


def clusters(x: Tensor, event: Tensor, seed: int = 0) -> dict[str, float]:
    """How well the events of a scene are clusters of its l2-normalised patches.

    ``silhouette`` compares distances inside and between events, from −1 to 1; ``nmi`` is the normalised mutual
    information of the events and as many clusters of k-means, from 0 to 1. Nothing for fewer than two events.

    Shape:
        x: (N, C).
        event: (N,), −1 for none, which does not count.
    """
    x, event = F.normalize(x.float(), dim=1)[event >= 0], event[event >= 0]
    events = event.unique()
    if not 2 <= len(events) < len(event):
        return {}
    found = KMeans(len(events), n_init=3, random_state=seed).fit_predict(x.numpy())
    return {
        "silhouette": float(silhouette_score(x.numpy(), event.numpy())),
        "nmi": float(normalized_mutual_info_score(event.numpy(), found)),
    }


@torch.inference_mode()
def feature_space(model: ATGNN, scenes: Iterable[KnownScene]) -> dict[str, float]:
    """Purity of the graph of every stage's last block, and clusters of its patches before and after its blocks.

    Measures are means over scenes, called ``purity/1`` … by stage, ``purity_by_chance/1``, ``edges/1``,
    ``silhouette/before/1``, ``silhouette/after/1``, ``nmi/before/1``, ``nmi/after/1``.

    Args:
        model: in eval mode.
        scenes: of :func:`~atgnn.analysis.truth.known_scenes`.
    """
    stages = [cast(Any, [*cast(nn.ModuleList, blocks)]) for blocks in model.network.stages]
    patch = patch_frames(model)
    parts = []
    for scene in scenes:
        before: list[Tensor] = []
        after: list[Tensor] = []
        graphs: list[tuple[Neighbors | Tensor, Grid, int]] = []
        hooks = [stage[0].register_forward_pre_hook(lambda _, args: before.append(args[0])) for stage in stages]  # noqa: B023
        hooks += [stage[-1].register_forward_hook(lambda *args: after.append(args[2])) for stage in stages]  # noqa: B023
        hooks += [
            stage[-1].graph.register_forward_hook(lambda _, args, out: graphs.append((out, args[2], args[3])))  # noqa: B023
            for stage in stages
        ]
        model.network(model.tagger.frontend.normalize(scene.log_mel))
        for hook in hooks:
            hook.remove()
        part: dict[str, float] = {}
        for t, (graph, grid, reduction) in enumerate(graphs):
            event, source_event = scene.heard(patch * 2**t), scene.heard(patch * 2**t * reduction)
            rows, columns = own_cell(grid, reduction, event.device)
            own = rows * -(-grid.width // reduction) + columns
            names = (f"purity/{t + 1}", f"purity_by_chance/{t + 1}", f"edges/{t + 1}")
            part |= zip(names, purity(graph, event, source_event, own), strict=True)
            for when, x in (("before", before[t]), ("after", after[t])):
                part |= {f"{name}/{when}/{t + 1}": value for name, value in clusters(x, event).items()}
        parts.append(part)
    return mean_over(parts)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's ρ of two lists; NaN where one of them is constant."""
    from scipy.stats import spearmanr

    if len(np.unique(a)) < 2 or len(np.unique(b)) < 2:
        return float("nan")
    return float(spearmanr(a, b).statistic)
