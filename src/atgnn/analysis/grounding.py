"""Grounding: do labels gather from the patches of their own event, and does their score hang on these?"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from atgnn.analysis.truth import KnownScene, mean_over
from atgnn.inference.embed import patch_frames
from atgnn.module import ATGNN
from atgnn.nn.graph import Neighbors

#: Shares of the patches that are taken out, or left in.
FRACTIONS = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)


@torch.inference_mode()
def grounding(model: ATGNN, scenes: Iterable[KnownScene], curves: int = 10, seed: int = 0) -> dict[str, float]:
    """Where the labels of scenes gather from, stage by stage, and their scores without and with these patches.

    Measures are means over scenes and their labels: ``share/1`` … is the share of a label's neighbours on its event,
    ``share_by_chance/1`` the share of all patches that are, ``pointing/1`` how often the nearest patch is on it.
    ``deletion/plg/0.4`` is the label's score once the 0.4 of the patches it gathered most from have the data's mean,
    ``insertion/plg/0.4`` with these alone; ``random`` and ``event`` take the patches at random, or the event's first;
    ``deletion_area/plg`` is the area under such a curve.

    Args:
        model: in eval mode, with labels that gather from patches.
        scenes: of :func:`~atgnn.analysis.truth.known_scenes`.
        curves: scenes, at most, that deletion and insertion curves are made of.
        seed: of random orders.
    """
    patch, generator = patch_frames(model), torch.Generator().manual_seed(seed)
    parts = []
    for number, scene in enumerate(scenes):
        output = model.network(model.tagger.frontend.normalize(scene.log_mel), trace=True)
        for label in scene.labels():
            if label not in model.labels:
                continue
            row = model.labels.index(label)
            carries = torch.tensor([label in event["labels"] for event in scene.events] + [False])  # −1 is the last
            on_event = [carries[scene.heard(patch * 2**t)] for t in range(len(output.patches))]
            part: dict[str, float] = {}
            for t, blocks in enumerate(output.gathered or ()):
                part |= {f"{name}/{t + 1}": value for name, value in attention(blocks, row, on_event[t]).items()}
            if number < curves and on_event[0].any():
                order = relevance([p.shape[-2:] for p in output.patches], output.gathered or (), row)
                noise = torch.rand(order.shape, generator=generator)
                orders = {"plg": order + 0.5 * noise, "random": noise, "event": on_event[0] + 0.5 * noise}
                part |= removal_curves(model, scene.log_mel, row, orders, patch)
            parts.append(part)
    return mean_over(parts)


def attention(blocks: list[Neighbors], label: int, on_event: Tensor) -> dict[str, float]:
    """Share of a label's neighbours on its event, by chance, and whether the nearest is: means over blocks."""
    near = torch.stack([on_event[neighbors.index[label]] for neighbors in blocks]).float()
    return {
        "share": float(near.mean()),
        "share_by_chance": float(on_event.float().mean()),
        "pointing": float(near[:, 0].mean()),
    }


def relevance(grids: list[torch.Size], gathered: tuple[list[Neighbors], ...], label: int) -> Tensor:
    """How often a label gathered from each patch of the first stage, or from the larger patch over it: (H·W,)."""
    height, width = grids[0]
    total = torch.zeros(height, width)
    for t, (grid, blocks) in enumerate(zip(grids, gathered, strict=True)):
        count = torch.zeros(grid.numel())
        for neighbors in blocks:
            count[neighbors.index[label]] += 1
        count = count.view(grid).repeat_interleave(2**t, 0).repeat_interleave(2**t, 1)
        total += count[:height, :width]
    return total.flatten()


def removal_curves(
    model: ATGNN, log_mel: Tensor, label: int, orders: dict[str, Tensor], patch: int
) -> dict[str, float]:
    """A label's scores as patches are removed, or all others are, those with the largest value of an order first."""
    frontend = model.tagger.frontend
    height, width = (-(-n // patch) for n in log_mel.shape[-2:])
    names, inputs = [], []
    for name, order in orders.items():
        rank = order.argsort(descending=True).argsort().view(1, 1, height, width)
        rank = F.interpolate(rank.float(), scale_factor=patch, mode="nearest")[
            ..., : log_mel.size(2), : log_mel.size(3)
        ]
        for fraction in FRACTIONS:
            first = rank < fraction * len(order)
            for kind, removed in (("deletion", first), ("insertion", ~first)):
                names.append(f"{kind}/{name}/{fraction}")
                inputs.append(log_mel.masked_fill(removed, frontend.mean))  # which normalising makes zero
    logits = model.network(frontend.normalize(torch.cat(inputs))).logits
    curves = dict(zip(names, logits[:, label].sigmoid().tolist(), strict=True))
    for kind, name in product(("deletion", "insertion"), orders):
        curve = [curves[f"{kind}/{name}/{fraction}"] for fraction in FRACTIONS]
        curves[f"{kind}_area/{name}"] = float(np.trapezoid(curve, FRACTIONS))
    return curves
