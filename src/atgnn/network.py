"""ATGNNNetwork: log-mel → patch graph ⇄ label graph → logits."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pydoc import locate
from typing import Any, Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from atgnn.nn.dense import GroupedLinear, init_weights
from atgnn.nn.graph import Backend, Neighbors
from atgnn.nn.label import LabelGraphStage
from atgnn.nn.linear import Linear
from atgnn.nn.patch import Downsample, KNNGraph, PatchGraphBlock, PositionEmbedding, Stem
from atgnn.nn.position import Grid, position_table
from atgnn.variants import Variant
from atgnn.variants import variant as look_up

ClassPath = dict[str, Any]
Pooling = Literal["mean", "mean_max"]


class TaggingOutput(NamedTuple):
    """What a network makes of a batch of log-mels.

    Shape:
        logits: (B, S), the sum of patch_logits and label_logits.
        patch_logits, label_logits: (B, S).
        patches: a (B, C, H, W) map for every stage.
        labels: (B, S, C) for every stage.
        gathered: for every stage, the Neighbors that labels gathered from in each PLG block; only on request.
    """

    logits: Tensor
    patch_logits: Tensor | None = None
    label_logits: Tensor | None = None
    patches: tuple[Tensor, ...] = ()
    labels: tuple[Tensor, ...] = ()
    gathered: tuple[list[Neighbors], ...] | None = None


class ATGNNNetwork(nn.Module):
    """Tag a log-mel: patches learn from patches that sound alike, labels from patches, labels from labels.

    Args:
        num_classes: S.
        variant: a size by name (:mod:`atgnn.variants`) or of one's own.
        n_mels: F of the grid that positions are learned on.
        n_frames: L of that grid.
        k: neighbours of each patch (PGN).
        label_k: patches that each label gathers from (PLG).
        depth: PGN blocks in all; the variant's own where None.
        plg: labels gather from patches.
        llg: labels support each other; without plg and llg there is no label graph (no MLG).
        bounded: the label graph that cannot blow up; False for the published form.
        tables: keep relative positions as the published model does, in frozen tables for one grid; pyramids only.
        conv: graph convolution, as {class_path, init_args}.
        graph: graph construction, as {class_path, init_args}; dilated k-NN where None.
        knn: k-NN back end, see :func:`atgnn.nn.graph.knn`.
        dropout: dropout in the patch head.
        drop_path: stochastic depth of the last PGN block; it grows linearly from 0.
        residual: PGN blocks add to the patches; False for the study of over-smoothing.
        pooling: what the patch head gets of the patches: their mean, as published, or mean + maximum ("mean_max"), in
            which a short sound counts as much as a long one.

    Shape:
        log_mel: (B, 1, F, L), normalised; F and L need not be those of the grid.
        returns: TaggingOutput.

    Raises:
        ValueError: if an argument does not fit, or the log-mel is not (B, 1, F, L).

    Source: arXiv 2311.01526.
    """

    def __init__(
        self,
        num_classes: int,
        variant: str | Variant | dict[str, Any] = "pyramid-s",
        *,
        n_mels: int = 128,
        n_frames: int = 1024,
        k: int = 9,
        label_k: int = 9,
        depth: int | None = None,
        plg: bool = True,
        llg: bool = True,
        bounded: bool = True,
        tables: bool = False,
        conv: ClassPath | None = None,
        graph: ClassPath | None = None,
        knn: Backend = "auto",
        dropout: float = 0.0,
        drop_path: float = 0.1,
        residual: bool = True,
        pooling: Pooling = "mean",
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"expected at least one label, got {num_classes}")
        if pooling not in get_args(Pooling):
            raise ValueError(f"expected a pooling of {', '.join(get_args(Pooling))}; got {pooling!r}")
        size = look_up(variant)
        size = size if depth is None else size.with_depth(depth)
        channels, pyramid = size.channels, size.kind == "pyramid"
        self.num_classes = num_classes
        self.pooling = pooling
        self.precision = torch.float32  # that `fuse` chose; autocast from outside has no need of it

        stem = [channels[0] // 2, channels[0]] if pyramid else [channels[0] // n for n in (8, 4, 2, 1)]
        self.stem = Stem(stem)
        grid = [math.ceil(n / 2 ** len(stem)) for n in (n_mels, n_frames)]
        self.position = PositionEmbedding(channels[0], *grid)

        total = sum(size.blocks)
        ks, dilations = dilation_schedule(size.kind, total, k)
        drop_paths = [drop_path * i / max(1, total - 1) for i in range(total)]
        make_conv = partial_class(conv or {"class_path": "atgnn.nn.conv.MaxRelativeConv"})
        self.downsamples = nn.ModuleList(map(Downsample, channels, channels[1:]))
        self.stages = nn.ModuleList()
        for stage, blocks in enumerate(size.blocks):
            first = sum(size.blocks[:stage])
            table = None
            if tables and pyramid:
                height, width = (math.ceil(n / 2**stage) for n in grid)
                table = position_table(height, width, channels[stage], size.reductions[stage])
            self.stages.append(
                nn.ModuleList(
                    PatchGraphBlock(
                        channels[stage],
                        partial_class(graph)() if graph else KNNGraph(ks[i], dilations[i], pyramid, table, knn),
                        make_conv,
                        size.reductions[stage],
                        drop_paths[i],
                        residual,
                    )
                    for i in range(first, first + blocks)
                )
            )
        self.head = nn.Sequential(
            nn.Linear(channels[-1], size.head_channels),
            nn.BatchNorm1d(size.head_channels),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(size.head_channels, num_classes),
        )
        self.label_stages = nn.ModuleList()
        if size.mlg_blocks and (plg or llg):
            for stage, blocks in enumerate(size.mlg_blocks):
                before = channels[stage - 1] if stage else None
                self.label_stages.append(
                    LabelGraphStage(before, channels[stage], num_classes, blocks, label_k, bounded, plg, llg, knn)
                )
        self.apply(init_weights)
        if self.label_stages:
            self.label_embedding = nn.Parameter(nn.init.trunc_normal_(torch.empty(num_classes, channels[0]), std=0.02))
            bound = channels[-1] ** -0.5
            self.label_readout = nn.Parameter(torch.empty(num_classes, channels[-1]).uniform_(-bound, bound))

    def forward(self, log_mel: Tensor, trace: bool = False) -> TaggingOutput:
        """Tag a batch of log-mels; with ``trace``, keep which patches each label gathered from."""
        if self.precision == torch.float32:
            return self._forward(log_mel, trace)
        with torch.autocast(log_mel.device.type, self.precision):
            return self._forward(log_mel, trace)

    def _forward(self, log_mel: Tensor, trace: bool) -> TaggingOutput:
        if log_mel.dim() != 4 or log_mel.size(1) != 1:
            raise ValueError(f"expected a log-mel (B, 1, F, L), got {tuple(log_mel.shape)}")
        x, grid = Grid.from_map(self.position(self.stem(log_mel)))
        labels = self.label_embedding.repeat(grid.clips, 1) if self.label_stages else None

        patches, label_states, gathered = [], [], []
        for stage, blocks in enumerate(self.stages):
            if stage:
                x, grid = Grid.from_map(self.downsamples[stage - 1](grid.to_map(x)))
            for block in cast(nn.ModuleList, blocks):
                x = block(x, grid)
            patches.append(grid.to_map(x))
            if labels is not None:
                labels, neighbors = self.label_stages[stage](labels, x, grid.clips)
                label_states.append(labels.view(grid.clips, self.num_classes, -1))
                gathered.append(neighbors)

        nodes = x.view(grid.clips, -1, x.size(1))
        pooled = nodes.mean(dim=1) + nodes.amax(dim=1) if self.pooling == "mean_max" else nodes.mean(dim=1)
        patch_logits = self.head(pooled).float()
        label_logits = (label_states[-1] * self.label_readout).sum(-1) if label_states else None
        return TaggingOutput(
            logits=patch_logits if label_logits is None else patch_logits + label_logits,
            patch_logits=patch_logits,
            label_logits=label_logits,
            patches=tuple(patches),
            labels=tuple(label_states),
            gathered=tuple(gathered) if trace else None,
        )

    def fuse(self, dtype: torch.dtype = torch.float32) -> ATGNNNetwork:
        """A copy for inference alone, every BatchNorm and GELU part of the map before it: the same outputs, sooner.

        Args:
            dtype: float32, or bfloat16 to keep the weights in it and run under autocast of itself; its search and its
                labels stay in fp32.
        """
        fused = copy.deepcopy(self).eval()
        for layers in (module for module in fused.modules() if isinstance(module, nn.Sequential)):
            for place, (layer, norm) in enumerate(zip(layers, [*layers][1:], strict=False)):
                if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
                    continue
                fold: Callable[..., Any] = (
                    fuse_conv_bn_weights if isinstance(layer, nn.Conv2d) else fuse_linear_bn_weights
                )
                statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
                layer.weight, layer.bias = fold(layer.weight, layer.bias, *statistics)
                layers[place + 1] = nn.Identity()
                bent = place + 2 < len(layers) and isinstance(layers[place + 2], nn.GELU)
                if bent and isinstance(layer, Linear):
                    layer.gelu, layers[place + 2] = True, nn.Identity()
        fused.precision = dtype
        for part in (fused.stem, fused.downsamples, fused.stages, fused.head):
            for layer in part.modules():
                if isinstance(layer, nn.Linear | nn.Conv2d | GroupedLinear):
                    layer.to(dtype)
        return fused.requires_grad_(False)


def dilation_schedule(kind: str, blocks: int, k: int) -> tuple[list[int], list[int]]:
    """Neighbours and dilation of every block: pyramids keep k, isotropic networks grow it from k to 2k."""
    if kind == "pyramid":
        return [k] * blocks, [min(i // 4 + 1, max(1, 49 // k)) for i in range(blocks)]
    ks = [k + k * i // max(1, blocks - 1) for i in range(blocks)]
    return ks, [min(i // 4 + 1, max(1, 196 // (2 * k))) for i in range(blocks)]


def partial_class(spec: ClassPath) -> Callable[..., nn.Module]:
    """Find the module class that a {class_path, init_args} names, and bind its init_args.

    Raises:
        ValueError: if it has other keys, or the path names no module class.
    """
    known = isinstance(spec, dict) and set(spec) <= {"class_path", "init_args"}
    cls = locate(str(spec.get("class_path"))) if known else None
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise ValueError(
            f"expected {{class_path: an importable nn.Module class, init_args: …}}, got {spec!r}; "
            "for example {class_path: atgnn.nn.EdgeConv}"
        )

    def build(*args: Any) -> nn.Module:
        return cls(*args, **(spec.get("init_args") or {}))

    return build
