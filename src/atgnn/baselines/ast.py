"""AST: the Audio Spectrogram Transformer behind the same front end, steps, data and metrics as ATGNN."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atgnn.audio.frontend import LogMel
from atgnn.network import TaggingOutput
from atgnn.tagger import Tagger
from atgnn.tagging import TaggingModule

#: Side of the square patches, and the stride between them: they overlap.
PATCH, STRIDE = 16, 10


class ASTNetwork(nn.Module):
    """Tag a log-mel by attention between its patches: transformers' ASTModel and its linear head.

    AST divides by twice the standard deviation, the front end by once: the input is halved here. Another number of
    frames than ``n_frames`` resizes the positions along time; fewer than a patch is long are filled up with the last.

    Args:
        num_classes: S.
        hidden_size: width of the patches.
        layers: transformer layers.
        heads: attention heads.
        n_mels: F.
        n_frames: L that positions are learned for.
        dropout: after attention and in the feed-forward parts.

    Shape:
        log_mel: (B, 1, F, L), normalised.
        returns: TaggingOutput with logits (B, S).

    Raises:
        ImportError: if transformers is not installed.
        ValueError: if the log-mel is not (B, 1, F, L).

    Source: Gong et al., "AST: Audio Spectrogram Transformer", Interspeech 2021.
    """

    def __init__(
        self,
        num_classes: int,
        hidden_size: int = 768,
        layers: int = 12,
        heads: int = 12,
        *,
        n_mels: int = 128,
        n_frames: int = 1024,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        try:
            from transformers import ASTConfig, ASTModel
        except ImportError as error:
            raise ImportError("expected transformers for AST, got none; pip install 'atgnn[baselines]'") from error
        if n_mels < PATCH or hidden_size % heads:
            raise ValueError(
                f"expected at least {PATCH} mel bands and a hidden size that {heads} heads divide, "
                f"got {n_mels} and {hidden_size}; change these"
            )
        self.n_mels = n_mels
        self.encoder = ASTModel(
            ASTConfig(
                hidden_size=hidden_size,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                intermediate_size=4 * hidden_size,
                num_mel_bins=n_mels,
                max_length=max(PATCH, n_frames),
                patch_size=PATCH,
                frequency_stride=STRIDE,
                time_stride=STRIDE,
                hidden_dropout_prob=dropout,
                attention_probs_dropout_prob=dropout,
            )
        )
        self.times = (max(PATCH, n_frames) - PATCH) // STRIDE + 1
        self.head = nn.Sequential(nn.LayerNorm(hidden_size), nn.Linear(hidden_size, num_classes))

    def forward(self, log_mel: Tensor) -> TaggingOutput:
        """Tag a batch of log-mels."""
        if log_mel.dim() != 4 or tuple(log_mel.shape[1:3]) != (1, self.n_mels):
            raise ValueError(f"expected a log-mel (B, 1, {self.n_mels}, L), got {tuple(log_mel.shape)}")
        if log_mel.size(-1) < PATCH:
            log_mel = torch.cat((log_mel, log_mel[..., -1:].expand(-1, -1, -1, PATCH - log_mel.size(-1))), dim=-1)
        parts = self.encoder.embeddings
        x = parts.patch_embeddings(0.5 * log_mel.squeeze(1).transpose(1, 2))
        positions = self._positions((log_mel.size(-1) - PATCH) // STRIDE + 1)
        heads = torch.cat((parts.cls_token, parts.distillation_token), dim=1) + positions[:, :2]
        x = parts.dropout(torch.cat((heads.expand(len(x), -1, -1), x + positions[:, 2:]), dim=1))
        for layer in self.encoder.layers:
            x = layer(x, None)
        x = self.encoder.layernorm(x)
        return TaggingOutput(self.head((x[:, 0] + x[:, 1]) / 2).float())

    def _positions(self, times: int) -> Tensor:
        """Position of every token (1, 2 + bands · times, D)."""
        positions: Tensor = self.encoder.embeddings.position_embeddings
        if times == self.times:
            return positions
        width = positions.size(-1)
        grid = positions[:, 2:].transpose(1, 2).reshape(1, width, -1, self.times)
        grid = F.interpolate(grid, size=(grid.size(2), times), mode="bilinear", align_corners=False)
        return torch.cat((positions[:, :2], grid.flatten(2).transpose(1, 2)), dim=1)


class AST(TaggingModule):
    """The Audio Spectrogram Transformer as a LightningModule that trains and tags as ATGNN does.

    AST-base is the default, 86 M parameters; ``hidden_size=192, layers=4, heads=4`` makes one of 2 M. Arguments not
    listed here are those of :class:`TaggingModule`.

    Args:
        labels: names of the S labels, in the order of the logits.
        hidden_size: width of the patches.
        layers: transformer layers.
        heads: attention heads.
        sample_rate: of the waveforms, in Hz.
        n_mels: F.
        f_min: lower edge of the mel bands, in Hz.
        f_max: upper edge, in Hz; half the sample rate where None.
        mean: mean of the data set's log-mels.
        std: their standard deviation; AST's convention of dividing by two of them is the network's.
        clip_seconds: length of the clips it is trained on, in seconds.
        short_clips: "pad" or "repeat" clips that are shorter, see :class:`atgnn.tagger.Tagger`.
        dropout: after attention and in the feed-forward parts.
        training: arguments of :class:`TaggingModule`.

    Shape:
        waveform: (B, T).
        returns: logits (B, S).
    """

    def __init__(
        self,
        labels: list[str],
        hidden_size: int = 768,
        layers: int = 12,
        heads: int = 12,
        *,
        sample_rate: int = 16000,
        n_mels: int = 128,
        f_min: float = 20.0,
        f_max: float | None = None,
        mean: float = -4.6476,
        std: float = 4.5699,
        clip_seconds: float = 10.24,
        short_clips: Literal["pad", "repeat"] = "pad",
        dropout: float = 0.0,
        **training: Any,
    ) -> None:
        frontend = LogMel(sample_rate, n_mels, f_min, f_max, mean, std)
        frames = frontend.num_frames(round(clip_seconds * sample_rate))
        network = ASTNetwork(len(labels), hidden_size, layers, heads, n_mels=n_mels, n_frames=frames, dropout=dropout)
        super().__init__(Tagger(frontend, network, short_clips), labels, clip_seconds=clip_seconds, **training)
        self.save_hyperparameters(ignore=["protocol"])
