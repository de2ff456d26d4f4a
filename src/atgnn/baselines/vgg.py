"""VGG: the plain convolutional network of audio tagging, pairs of 3×3 convolutions between halvings."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class VGG(nn.Module):
    """Classify maps of any size by pairs of 3×3 convolutions, each pair followed by 2×2 average pooling.

    Args:
        num_classes: S.
        widths: channels of every pair; the default is CNN10 of PANNs.
        in_channels: of the map.
        dropout: before the last layer.

    Shape:
        x: (B, in_channels, H, W).
        returns: (B, S).

    Source: Kong et al., "PANNs", TASLP 2020.
    """

    def __init__(
        self,
        num_classes: int,
        widths: Sequence[int] = (64, 128, 256, 512),
        in_channels: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip((in_channels, *widths), widths, strict=False):
            for channels in (before, width):
                layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            layers.append(nn.AvgPool2d(2, ceil_mode=True))
        self.layers = nn.Sequential(*layers)
        self.hidden = nn.Linear(widths[-1], widths[-1])
        self.last = nn.Sequential(nn.Dropout(dropout), nn.Linear(widths[-1], num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of maps: over bands their mean, over time its maximum plus its mean."""
        x = self.layers(x).mean(dim=2)
        logits: Tensor = self.last(F.relu(self.hidden(x.amax(-1) + x.mean(-1))))
        return logits
