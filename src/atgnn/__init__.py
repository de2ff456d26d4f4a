"""Audio tagging with graph neural networks.

waveform → log-mel → patch graph ⇄ label graph → logits

Shape letters, used in every docstring: B clips · T samples · F mel bins · L frames · H×W patch grid · N target nodes ·
M source nodes · K neighbours · S labels · C, D channels · E edges.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atgnn.audio.frontend import LogMel
    from atgnn.data.datamodule import ShardDataModule
    from atgnn.errors import InputError
    from atgnn.module import ATGNN
    from atgnn.network import ATGNNNetwork, TaggingOutput
    from atgnn.tagger import Tagger
    from atgnn.tagging import TaggingModule

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
_PLACES = {"ATGNNNetwork": "network", "TaggingOutput": "network", "InputError": "errors", "LogMel": "audio.frontend"}
_PLACES |= {"ATGNN": "module", "ShardDataModule": "data.datamodule", "Tagger": "tagger", "TaggingModule": "tagging"}


def __getattr__(name: str) -> Any:
    """Load a public name, and what it stands on, only when it is asked for: Lightning and PyG take seconds."""
    if name not in _PLACES:
        raise AttributeError(f"module 'atgnn' has no attribute {name!r}")
    return getattr(import_module(f"atgnn.{_PLACES[name]}"), name)
