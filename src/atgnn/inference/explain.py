"""Why a model hears a label: the patches it gathered from, the labels that helped, and the score without them."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain, product
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atgnn.errors import InputError
from atgnn.inference.embed import patch_frames
from atgnn.inference.files import Sound, cut_windows, hear_sound, sound_blocks
from atgnn.module import ATGNN
from atgnn.nn.graph import Neighbors

#: Frequency and time of a corner and of the one across, in mel bins and frames.
Box = tuple[int, int, int, int]


@dataclass
class Stage:
    """What happened in one stage of the network.

    Args:
        patches: where every patch lies.
        gathered: number of each patch that the label gathered from, and in how many blocks.
        sources: where what patches learn from lies: patches, or pooled patches.
        neighbors: numbers of the sources of every patch, nearest first, in the stage's last block.
    """

    patches: list[Box]
    gathered: dict[int, int]
    sources: list[Box]
    neighbors: list[list[int]]


@dataclass
class Removal:
    """Scores once what a label gathered from has the data's mean, and once as many random patches have."""

    name: str
    patches: int
    score: float
    random: list[float]


@dataclass
class Explanation:
    """Why a label has its score in the window of a recording in which that is largest.

    Args:
        name: of the recording.
        label: the label.
        score: of the label in that window.
        start: of the window, in seconds.
        waveform: (T,), the window.
        log_mel: (F, L), what the network sees.
        frames: of these that are sound; the others are padding.
        stages: of the network.
        removals: for each stage, and for all at once.
        patch_logit: what the patch head adds to the logit.
        own_logit: what the label itself adds after its last block.
        links: what every other label adds to it in its last block, in logits; the strongest first.
    """

    name: str
    label: str
    score: float
    start: float
    waveform: Tensor
    log_mel: Tensor
    frames: int
    stages: list[Stage]
    removals: list[Removal]
    patch_logit: float
    own_logit: float
    links: list[tuple[str, float]]


@torch.inference_mode()
def explain_sound(
    model: ATGNN,
    sound: Sound,
    label: str | None = None,
    *,
    sample_rate: int | None = None,
    draws: int = 12,
    seed: int = 0,
) -> Explanation:
    """Explain a label's score in a recording.

    Args:
        model: in eval mode, with labels that gather from patches.
        sound: a path or a waveform; of a long one, the window in which the label is most probable is explained.
        label: the most probable one where None.
        sample_rate: of a waveform.
        draws: how often random patches are removed.
        seed: of the draws.

    Raises:
        InputError: if the model does not know the label or has no label graph, or the recording cannot be read.
    """
    if label is not None and label not in model.labels:
        near = get_close_matches(label, model.labels, 10, 0.4) if len(model.labels) > 20 else model.labels
        raise InputError(f"expected a label of the model (such as {'; '.join(near)}), got {label!r}; choose one")
    network = model.network.fuse()
    if not network.label_stages or not all(cast(Any, stage).gather for stage in network.label_stages):
        raise InputError("expected a model whose labels gather from patches, got one without; train with plg: true")
    frontend = model.tagger.frontend
    hearing = hear_sound(model, sound, sample_rate)
    number = model.labels.index(label or hearing.tags(model)[0].label)
    start = hearing.starts[int(hearing.windows.logits[:, number].argmax())]
    size = round(model.clip_seconds * frontend.sample_rate)
    windows = cut_windows(sound_blocks(model, sound, sample_rate), size)
    heard = next(window for first, window in windows if first == start)
    heard = heard / heard.abs().max().clamp(min=1)
    waveform, lengths = model.tagger.fill(F.pad(heard, (0, size - len(heard)))[None], torch.tensor([len(heard)]))
    log_mel, length = frontend(waveform, lengths), int(cast(Tensor, lengths)[0])

    graphs: list[Neighbors | Tensor] = []
    inputs: list[Tensor] = []
    lasts = [cast(nn.ModuleList, blocks)[-1] for blocks in network.stages]
    support = cast(nn.ModuleList, cast(Any, network.label_stages[-1]).support)
    hooks = [cast(Any, block).graph.register_forward_hook(lambda *args: graphs.append(args[2])) for block in lasts]
    hooks += [block.register_forward_pre_hook(lambda _, args: inputs.append(args[0])) for block in [*support][-1:]]
    output = network(frontend.normalize(log_mel), trace=True)
    for hook in hooks:
        hook.remove()

    own, links = float(cast(Tensor, output.label_logits)[0, number]), []
    if inputs:
        # The last thing that happens to the labels is linear, so their logit is a sum over labels.
        share = support[-1](torch.eye(len(model.labels)))[number] * (
            inputs[-1] @ cast(Tensor, network.label_readout)[number]
        )
        own = float(share[number])
        links = [(name, float(share[i])) for i, name in enumerate(model.labels) if i != number]
    frames = min(log_mel.size(3), max(1, (length - frontend.win_length) // frontend.hop_length + 1))
    stages = [
        _stage(patches, graph, gathered, number, patch_frames(model) * 2**t, cast(Any, last).reduction, log_mel)
        for t, (patches, graph, gathered, last) in enumerate(
            zip(output.patches, graphs, output.gathered, lasts, strict=True)
        )
    ]

    def score(log_mels: Tensor) -> list[float]:
        logits = torch.cat([network(frontend.normalize(part)).logits for part in log_mels.split(2)])
        return [float(value) for value in logits[:, number].sigmoid()]

    return Explanation(
        "recording" if isinstance(sound, Tensor) else Path(sound).name,
        model.labels[number],
        float(output.logits[0, number].sigmoid()),
        start / frontend.sample_rate,
        waveform[0, :length],
        log_mel[0, 0],
        frames,
        stages,
        _removals(stages, log_mel, frontend.mean, frames, draws, torch.Generator().manual_seed(seed), score),
        float(cast(Tensor, output.patch_logits)[0, number]),
        own,
        sorted(links, key=lambda link: -link[1]),
    )


def _stage(
    patches: Tensor,
    graph: Neighbors | Tensor,
    gathered: list[Neighbors],
    label: int,
    cell: int,
    r: int,
    log_mel: Tensor,
) -> Stage:
    edges = graph.edge_index if isinstance(graph, Neighbors) else graph
    neighbors: list[list[int]] = [[] for _ in range(patches[0, 0].numel())]
    for source, target in edges.t().tolist():
        neighbors[target].append(source)
    counts: dict[int, int] = {}
    for found in gathered:
        for patch in found.index[label].tolist():
            counts[patch] = counts.get(patch, 0) + 1
    size = (log_mel.size(2), log_mel.size(3))
    return Stage(_boxes(size, cell), counts, _boxes(size, cell * r), neighbors)


def _boxes(size: tuple[int, int], cell: int) -> list[Box]:
    """Cells of a spectrogram (F, L), row by row."""
    height, width = size
    corners = product(range(0, height, cell), range(0, width, cell))
    return [(f, t, min(f + cell, height), min(t + cell, width)) for f, t in corners]


def _removals(
    stages: list[Stage],
    log_mel: Tensor,
    mean: float,
    frames: int,
    draws: int,
    generator: torch.Generator,
    score: Any,
) -> list[Removal]:
    chosen = [[stage.patches[i] for i in stage.gathered if stage.patches[i][1] < frames] for stage in stages]
    heard = [[box for box in stage.patches if box[1] < frames] for stage in stages]  # padding cannot be removed
    drawn = [
        [[all_of[i] for i in torch.randperm(len(all_of), generator=generator)[: len(some)]] for _ in range(draws)]
        for all_of, some in zip(heard, chosen, strict=True)
    ]
    cases = [(f"stage {t}", some, of) for t, (some, of) in enumerate(zip(chosen, drawn, strict=True), start=1)]
    cases.append(("all stages", [*chain(*chosen)], [[*chain(*parts)] for parts in zip(*drawn, strict=True)]))
    removals = []
    for name, some, random in cases:
        without, *others = score(torch.cat([_without(log_mel, boxes, mean) for boxes in (some, *random)]))
        removals.append(Removal(name, len(some), without, others))
    return removals


def _without(log_mel: Tensor, boxes: list[Box], mean: float) -> Tensor:
    """A log-mel (1, 1, F, L) in which boxes are the data's mean, which normalising makes zero."""
    log_mel = log_mel.clone()
    for f, t, f_end, t_end in boxes:
        log_mel[..., f:f_end, t:t_end] = mean
    return log_mel
