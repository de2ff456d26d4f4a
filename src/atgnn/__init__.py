"""Audio tagging with graph neural networks.

waveform → log-mel → patch graph ⇄ label graph → logits

Shape letters, used in every docstring: B clips · T samples · F mel bins · L frames · H×W patch grid · N target nodes ·
M source nodes · K neighbours · S labels · C, D channels · E edges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atgnn.audio.frontend import LogMel
from atgnn.errors import InputError
from atgnn.module import ATGNN
from atgnn.network import ATGNNNetwork, TaggingOutput
from atgnn.tagger import Tagger
from atgnn.tagging import TaggingModule

if TYPE_CHECKING:
    from atgnn.data.datamodule import ShardDataModule

__version__ = "0.1.0"
__all__ = [
    "ATGNN",
    "ATGNNNetwork",
    "InputError",
    "LogMel",
    "ShardDataModule",
    "Tagger",
    "TaggingModule",
    "TaggingOutput",
]


def __getattr__(name: str) -> Any:
    """Load the data module, and webdataset with it, only when it is asked for."""
    if name == "ShardDataModule":
        from atgnn.data.datamodule import ShardDataModule

        return ShardDataModule
    raise AttributeError(f"module 'atgnn' has no attribute {name!r}")
