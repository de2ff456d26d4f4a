"""The HEAR API: `load_model`, `get_scene_embeddings` and `get_timestamp_embeddings`, for its benchmark.

Source: Turian et al., "HEAR: Holistic Evaluation of Audio Representations", 2022 (the common API).
"""

from __future__ import annotations

import torch
from torch import Tensor

from atgnn.checkpoint import load_model as load
from atgnn.inference.embed import frame_embeddings, frame_seconds
from atgnn.module import ATGNN


def load_model(model_file_path: str = "") -> ATGNN:
    """Load a checkpoint, or the bundled network, with the three attributes that HEAR reads."""
    model = load(model_file_path or None)
    size = int(frame_embeddings(model, torch.zeros(1, model.tagger.frontend.sample_rate)).size(2))
    model.sample_rate = model.tagger.frontend.sample_rate  # type: ignore[assignment]
    model.scene_embedding_size = model.timestamp_embedding_size = size  # type: ignore[assignment]
    return model


def get_timestamp_embeddings(audio: Tensor, model: ATGNN) -> tuple[Tensor, Tensor]:
    """Embed sounds over time.

    Shape:
        audio: (B, T), samples in ±1 at ``model.sample_rate``.
        returns: embeddings (B, t, C) and the centres of what they describe (B, t), in milliseconds.
    """
    embeddings = frame_embeddings(model.eval(), audio)
    centers = (torch.arange(embeddings.size(1), device=embeddings.device) + 0.5) * (1000 * frame_seconds(model))
    return embeddings, centers.repeat(len(audio), 1)


def get_scene_embeddings(audio: Tensor, model: ATGNN) -> Tensor:
    """Embed whole sounds: the mean over time, (B, C)."""
    return get_timestamp_embeddings(audio, model)[0].mean(dim=1)
