"""Graph layers for patches and labels; they know nothing of audio, files or Lightning."""

from atgnn.nn.conv import EdgeConv, GINConv, MaxRelativeConv, SAGEConv
from atgnn.nn.dense import FeedForward, GroupedLinear, StochasticDepth
from atgnn.nn.graph import Neighbors, knn
from atgnn.nn.label import LabelGraphStage, LabelLabelBlock, PatchLabelBlock
from atgnn.nn.patch import Downsample, KNNGraph, PatchGraphBlock, PositionEmbedding, Stem
from atgnn.nn.position import Grid, grid_position

__all__ = [
    "Downsample",
    "EdgeConv",
    "FeedForward",
    "GINConv",
    "Grid",
    "GroupedLinear",
    "KNNGraph",
    "LabelGraphStage",
    "LabelLabelBlock",
    "MaxRelativeConv",
    "Neighbors",
    "PatchGraphBlock",
    "PatchLabelBlock",
    "PositionEmbedding",
    "SAGEConv",
    "Stem",
    "StochasticDepth",
    "grid_position",
    "knn",
]
