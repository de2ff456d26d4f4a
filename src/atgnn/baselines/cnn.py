"""CNN: a convolutional network of timm behind the same front end, steps, data and metrics as ATGNN."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from atgnn.audio.frontend import LogMel
from atgnn.baselines.vgg import VGG
from atgnn.network import TaggingOutput
from atgnn.tagger import Tagger
from atgnn.tagging import TaggingModule


class CNNNetwork(nn.Module):
    """Tag a log-mel as if it were a grey picture.

    Args:
        num_classes: S.
        name: a convolutional model of timm, or "vgg" for :class:`~atgnn.baselines.vgg.VGG`.
        dropout: before the last layer.
        options: further arguments of that model, as channel_multiplier and depth_multiplier of efficientnet_b0.

    Shape:
        log_mel: (B, 1, F, L), normalised.
        returns: TaggingOutput with logits (B, S).

    Raises:
        ImportError: if timm is needed and not installed.
        ValueError: if timm has no model of that name, or the log-mel is not (B, 1, F, L).
    """

    def __init__(
        self,
        num_classes: int,
        name: str = "efficientnet_b2",
        *,
        dropout: float = 0.0,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        options = options or {}
        if name == "vgg":
            self.model: nn.Module = VGG(num_classes, dropout=dropout, **options)
            return
        try:
            import timm
        except ImportError as error:
            raise ImportError("expected timm for a CNN, got none; pip install 'atgnn[baselines]'") from error
        if not timm.is_model(name):
            raise ValueError(f"expected a model of timm or vgg, got {name!r}; timm.list_models() names them")
        make: Any = timm.create_model
        if {"channel_multiplier", "depth_multiplier"} & set(options):
            make = timm.models.efficientnet._gen_efficientnet  # create_model has the published sizes alone
        self.model = make(name, in_chans=1, num_classes=num_classes, drop_rate=dropout, **options)

    def forward(self, log_mel: Tensor) -> TaggingOutput:
        """Tag a batch of log-mels."""
        if log_mel.dim() != 4 or log_mel.size(1) != 1:
            raise ValueError(f"expected a log-mel (B, 1, F, L), got {tuple(log_mel.shape)}")
        return TaggingOutput(self.model(log_mel).float())


class CNN(TaggingModule):
    """A convolutional network as a LightningModule that trains and tags as ATGNN does.

    EfficientNet-B2 is the default, as in PSLA. Arguments not listed here are those of :class:`TaggingModule`.

    Args:
        labels: names of the S labels, in the order of the logits.
        name: a convolutional model of timm, or "vgg" for a plain stack as PANNs' CNN10.
        sample_rate: of the waveforms, in Hz.
        n_mels: F.
        f_min: lower edge of the mel bands, in Hz.
        f_max: upper edge, in Hz; half the sample rate where None.
        mean: mean of the data set's log-mels.
        std: their standard deviation.
        clip_seconds: length of the clips it is trained on, in seconds.
        short_clips: "pad" or "repeat" clips that are shorter, see :class:`atgnn.tagger.Tagger`.
        dropout: before the last layer.
        options: further arguments of that model, see :class:`CNNNetwork`.
        training: arguments of :class:`TaggingModule`.

    Shape:
        waveform: (B, T).
        returns: logits (B, S).

    Source: Gong et al., "PSLA", TASLP 2021.
    """

    def __init__(
        self,
        labels: list[str],
        name: str = "efficientnet_b2",
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
        options: dict[str, Any] | None = None,
        **training: Any,
    ) -> None:
        frontend = LogMel(sample_rate, n_mels, f_min, f_max, mean, std)
        network = CNNNetwork(len(labels), name, dropout=dropout, options=options)
        super().__init__(Tagger(frontend, network, short_clips), labels, clip_seconds=clip_seconds, **training)
        self.save_hyperparameters(ignore=["protocol"])
