"""The textbook way to run an ATGNN, for comparison of cost alone: maps, full distances, every edge materialised."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atgnn.network import ATGNNNetwork, TaggingOutput, dilation_schedule
from atgnn.weights import published_names, published_state_dict


class NaiveNetwork(nn.Module):
    """The same network as an :class:`~atgnn.network.ATGNNNetwork` with tables and max-relative convolutions.

    Everything is kept as maps (B, C, H, W) with 1×1 convolutions and BatchNorm2d; distances are a full matrix to which
    each term is added; neighbours and centres are gathered as (B, C, N, K).

    Args:
        network: gives the weights, which are copied.
        k: its neighbours of each patch.
        label_k: its patches that each label gathers from.

    Shape:
        log_mel: (B, 1, F, L).
        returns: TaggingOutput with logits.
    """

    def __init__(self, network: ATGNNNetwork, k: int = 9, label_k: int = 9) -> None:
        super().__init__()
        self.blocks = [len(stage) for stage in network.stages]  # type: ignore[arg-type]
        self.k, self.label_k = k, label_k
        self.pyramid = len(self.blocks) > 1
        trained = dict(network.named_parameters())
        names, published = published_names(network), published_state_dict(network)
        for own, value in network.state_dict().items():
            if value.is_floating_point():
                learns = own in trained and trained[own].requires_grad
                self.register_parameter(names[own].replace(".", "/"), nn.Parameter(published[names[own]], learns))

    def forward(self, log_mel: Tensor) -> TaggingOutput:
        """Tag a batch of log-mels."""
        x = log_mel
        stem = sum(key.startswith("stem/convs") and key.endswith("running_var") for key in self._parameters)
        for layer in range(stem):
            last = layer + 1 == stem
            x = self.norm(f"stem.convs.{3 * layer + 1}", self.conv(f"stem.convs.{3 * layer}", x, 1 if last else 2))
            x = x if last else F.gelu(x)
        x = x + self["pos_embed"]
        ks, dilations = dilation_schedule("pyramid" if self.pyramid else "isotropic", sum(self.blocks), self.k)
        mlg = "label_embed" in self._parameters
        labels = self["label_embed"].expand(len(x), -1, -1, -1) if mlg else None
        number = block = 0
        for stage, count in enumerate(self.blocks):
            if stage:
                x = self.norm(f"backbone.{number}.conv.1", self.conv(f"backbone.{number}.conv.0", x, 2))
                number += 1
            for _ in range(count):
                x = self.patch_block(f"backbone.{number}", x, ks[block], dilations[block])
                number, block = number + 1, block + 1
            if labels is not None:
                labels = self.label_blocks(stage, labels, x)
        hidden = F.gelu(self.norm("prediction.1", self.conv("prediction.0", F.adaptive_avg_pool2d(x, 1))))
        logits = self.conv("prediction.4", hidden).flatten(1)
        if labels is not None:
            logits = logits + (labels.squeeze(-1).transpose(1, 2) * self["label_readout"]).sum(-1)
        return TaggingOutput(logits)

    def patch_block(self, name: str, x: Tensor, k: int, dilation: int) -> Tensor:
        """PGN block: graph part, then feed-forward part."""
        target = self.norm(f"{name}.0.fc1.1", self.conv(f"{name}.0.fc1.0", x))
        table = self[f"{name}.0.relative_pos"] if self.pyramid else None
        reduction = 1 if table is None else round((table.size(1) / table.size(2)) ** 0.5)
        source = F.avg_pool2d(target, reduction) if reduction > 1 else target
        center, neighbor = self.gather(target, source, k, dilation, table)
        gathered = (neighbor - center).amax(-1)
        mixed = self.interleave(f"{name}.0.graph_conv.gconv.nn", target.flatten(2), gathered)
        mixed = mixed.view(len(x), -1, *x.shape[2:])
        x = x + self.norm(f"{name}.0.fc2.1", self.conv(f"{name}.0.fc2.0", mixed))
        return self.feed_forward(f"{name}.1", x)

    def label_blocks(self, stage: int, labels: Tensor, x: Tensor) -> Tensor:
        """PLG and LLG blocks of a stage on labels (B, C, S, 1)."""
        if stage:
            labels = self.norm(f"label_proj.{stage}.1", self.conv(f"label_proj.{stage}.0", labels))
        block = 0
        while f"mlg_stages/{stage}/{block}/adj" in self._parameters:
            name = f"mlg_stages.{stage}.{block}"
            center, neighbor = self.gather(labels, x, self.label_k, 1, None)
            gathered = (center - neighbor).amax(-1)
            labels = labels + self.interleave(f"{name}.plg.nn", labels.flatten(2), gathered).unsqueeze(-1)
            labels = self.feed_forward(f"{name}.ffn", labels)
            labels = torch.einsum("st,bctk->bcsk", self[f"{name}.adj"], labels) + labels
            block += 1
        return labels

    def gather(
        self, target: Tensor, source: Tensor, k: int, dilation: int, table: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Centres and neighbours of every node, (B, C, N, K) each."""
        x, y = (F.normalize(nodes.flatten(2).transpose(1, 2), dim=-1) for nodes in (target, source))
        with torch.no_grad():
            distance = x.square().sum(-1, keepdim=True) + -2 * x @ y.transpose(1, 2)
            distance = distance + y.square().sum(-1).unsqueeze(1)
            if table is not None:
                distance = distance + table
            nearest = (-distance).topk(k * dilation).indices[:, :, ::dilation]
        center = torch.arange(x.size(1), device=x.device).view(1, -1, 1).expand_as(nearest)
        return self.select(target, center), self.select(source, nearest)

    def select(self, nodes: Tensor, index: Tensor) -> Tensor:
        """Columns (B, C, N, K) of nodes (B, C, H, W), by index (B, N, K)."""
        clips, channels = nodes.shape[:2]
        offset = torch.arange(clips, device=nodes.device).view(-1, 1, 1) * nodes[0, 0].numel()
        flat = nodes.flatten(2).transpose(1, 2).reshape(-1, channels)
        return flat[(index + offset).flatten()].view(*index.shape, channels).permute(0, 3, 1, 2)

    def interleave(self, name: str, nodes: Tensor, gathered: Tensor) -> Tensor:
        """φ of nodes (B, C, N) and what they gathered, their channels alternating."""
        both = torch.stack((nodes, gathered), dim=2).flatten(1, 2).unsqueeze(-1)
        return F.gelu(self.norm(f"{name}.1", self.conv(f"{name}.0", both, groups=4))).squeeze(-1)

    def feed_forward(self, name: str, x: Tensor) -> Tensor:
        """Widen, bend, narrow, add."""
        hidden = F.gelu(self.norm(f"{name}.fc1.1", self.conv(f"{name}.fc1.0", x)))
        return x + self.norm(f"{name}.fc2.1", self.conv(f"{name}.fc2.0", hidden))

    def conv(self, name: str, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
        """A convolution by its published name, padded to keep the grid."""
        weight = self[f"{name}.weight"]
        return F.conv2d(x, weight, self[f"{name}.bias"], stride, weight.size(-1) // 2, groups=groups)

    def norm(self, name: str, x: Tensor) -> Tensor:
        """A BatchNorm by its published name."""
        mean, variance, weight, bias = (
            self[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, weight, bias, self.training)

    def __getitem__(self, name: str) -> Tensor:
        tensor: Tensor = getattr(self, name.replace(".", "/"))
        return tensor
