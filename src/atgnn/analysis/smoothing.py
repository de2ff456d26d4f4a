"""Over-smoothing: how alike the nodes of a clip become, block after block, in a network of any kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Classes that count as a block: of ATGNN, of transformers' AST, of timm's convolutional networks, of VGG.
BLOCKS = ("PatchGraphBlock", "ASTLayer", "BasicBlock", "InvertedResidual", "AvgPool2d")


def dirichlet_energy(x: Tensor) -> Tensor:
    r"""How much nodes differ from each other, in units of their own size; 0 where all are the same.

    .. math:: E = \frac{\tfrac{1}{N^2} \sum_{ij} \lVert x_i - x_j \rVert^2}{\tfrac{1}{N} \sum_i \lVert x_i \rVert^2}
                = 2 - 2\, \frac{\lVert \bar x \rVert^2}{\tfrac{1}{N} \sum_i \lVert x_i \rVert^2}

    Every pair of a clip is an edge, so that networks without a graph have one too; scale does not matter.

    Shape:
        x: (B, N, C).
        returns: (B,), from 0 to 2.

    Source: Cai and Wang, "A Note on Over-Smoothing for Graph Neural Networks", 2020.
    """
    square = x.square().sum(-1).mean(-1)
    return 2 - 2 * x.mean(1).square().sum(-1) / square.clamp(min=torch.finfo(x.dtype).tiny)


def mean_average_distance(x: Tensor) -> Tensor:
    """Mean cosine distance between different nodes of a clip.

    Shape:
        x: (B, N, C).
        returns: (B,), from 0 to 2; 0 for a single node.

    Source: Chen et al., "Measuring and Relieving the Over-Smoothing Problem", AAAI 2020.
    """
    nodes = x.size(1)
    mean = F.normalize(x, dim=-1).mean(1)
    return (1 - mean.square().sum(-1)) * nodes / max(1, nodes - 1)


def effective_rank(x: Tensor) -> Tensor:
    r"""How many directions the nodes of a clip fill: :math:`\exp` of the entropy of their singular values' shares.

    Shape:
        x: (B, N, C).
        returns: (B,), from 1 to min(N, C).

    Source: Roy and Vetterli, "The Effective Rank", EUSIPCO 2007.
    """
    values = torch.linalg.svdvals(x)
    share = values / values.sum(-1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
    return torch.special.entr(share).sum(-1).exp()


MEASURES: dict[str, Callable[[Tensor], Tensor]] = {
    "energy": dirichlet_energy,
    "distance": mean_average_distance,
    "rank": effective_rank,
}


def nodes_of(output: Any, clips: int) -> Tensor:
    """What a block puts out, as nodes (B, N, C): of a map (B, C, H, W), of tokens, or of the flat nodes of a graph."""
    x: Tensor = (output[0] if isinstance(output, tuple) else output).detach().float()
    if x.dim() == 4:
        return x.flatten(2).transpose(1, 2)
    return x if x.dim() == 3 else x.view(clips, -1, x.size(-1))


class Smoothing(L.Callback):
    """Log the three measures after every block, over the first batch of each validation and test.

    They are called ``val/energy/01``, ``val/distance/01``, ``val/rank/01`` and so on, by number of the block.

    Args:
        blocks: names of the classes that count as a block.
    """

    def __init__(self, blocks: Sequence[str] = BLOCKS) -> None:
        self.blocks = tuple(blocks)
        self._hooks: list[Any] = []
        self._outputs: list[Any] = []

    def on_validation_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *args: Any) -> None:
        """Listen to the first batch."""
        self._listen(module, args[1])

    def on_test_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *args: Any) -> None:
        """Listen to the first batch."""
        self._listen(module, args[1])

    def on_validation_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, *_: int
    ) -> None:
        """Measure what was heard."""
        self._log(module, "val", batch)

    def on_test_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, *_: int
    ) -> None:
        """Measure what was heard."""
        self._log(module, "test", batch)

    def _listen(self, module: nn.Module, batch_idx: int) -> None:
        if batch_idx == 0:
            blocks = [block for block in module.modules() if type(block).__name__ in self.blocks]
            self._hooks = [block.register_forward_hook(lambda *args: self._outputs.append(args[2])) for block in blocks]

    def _log(self, module: L.LightningModule, stage: str, batch: Any) -> None:
        if not self._hooks:
            return
        for hook in self._hooks:
            hook.remove()
        # A clip scored at several speeds or in several windows is heard as often; its first pass is enough.
        outputs, blocks = self._outputs[: len(self._hooks)], len(self._hooks)
        self._hooks, self._outputs = [], []
        clips = len(batch["waveform"])
        for number, output in enumerate(outputs, start=1):
            nodes = nodes_of(output, clips)
            for name, measure in MEASURES.items():
                key = f"{stage}/{name}/{number:0{max(2, len(str(blocks)))}d}"
                module.log(key, measure(nodes).mean(), on_step=False, on_epoch=True, batch_size=clips)
