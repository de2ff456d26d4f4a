"""TaggingModule: training, validation and test of any Tagger; ATGNN: the tagger of this package, from plain values."""

from __future__ import annotations

import math
import time
from typing import Any, Literal

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanMetric

from atgnn.audio.augment import Mixup, Overlay, SpecMask, Speed
from atgnn.audio.frontend import LogMel
from atgnn.errors import InputError
from atgnn.metrics import AveragePrecision, mean_average_precision
from atgnn.network import ATGNNNetwork, ClassPath
from atgnn.nn.graph import Backend
from atgnn.schedule import Decay, Schedule
from atgnn.tagger import Tagger

Batch = dict[str, Any]


class TaggingModule(L.LightningModule):
    """Loss, augmentation, metrics and optimiser around a Tagger.

    A batch is a dict ``{waveform (B, T), lengths (B,), targets (B, S), mask (B,), key: list[str]}``.

    Args:
        tagger: the model.
        labels: names of the S labels, in the order of the logits.
        clip_seconds: length of the clips it is trained on, in seconds; other lengths work, and files are cut to it.
        lr: learning rate of Adam.
        betas: its betas.
        weight_decay: its weight decay (added to the gradient, as Adam does).
        warmup_steps: optimiser steps over which the learning rate grows linearly.
        decay: "step" or "cosine", see :func:`atgnn.schedule.learning_rate_factor`.
        decay_start: first epoch at half the learning rate ("step").
        decay_every: epochs between halvings ("step").
        speed: clips are played faster or slower by up to this share, pitch and all; 0 for none.
        overlay_events: most clips laid over each other as a training scene; 1 for none.
        overlay_level_db: levels of clips, laid over each other or not, are drawn from ± this, in dB; 0 for none.
        mixup: probability of mixing a clip with another.
        mixup_alpha: α of the mixing weight, λ ~ Beta(α, α).
        mask_freq: widest masked band in mel bins; 0 for none.
        mask_time: longest masked stretch in frames; 0 for none.
        seed: seed of the augmentation, which is drawn anew for every (seed, step, rank).
    """

    def __init__(
        self,
        tagger: Tagger,
        labels: list[str],
        *,
        clip_seconds: float = 10.24,
        lr: float = 5e-4,
        betas: tuple[float, float] = (0.95, 0.999),
        weight_decay: float = 5e-7,
        warmup_steps: int = 1000,
        decay: Decay = "step",
        decay_start: int = 10,
        decay_every: int = 5,
        speed: float = 0.0,
        overlay_events: int = 1,
        overlay_level_db: float = 0.0,
        mixup: float = 0.5,
        mixup_alpha: int = 10,
        mask_freq: int = 48,
        mask_time: int = 192,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.tagger = tagger
        self.labels = list(labels)
        self.clip_seconds = clip_seconds
        self.lr, self.betas, self.weight_decay = lr, (betas[0], betas[1]), weight_decay
        self.schedule = {
            "warmup_steps": warmup_steps,
            "decay": decay,
            "decay_start": decay_start,
            "decay_every": decay_every,
        }
        self.speed = Speed(speed) if speed else None
        self.overlay = Overlay(overlay_events, overlay_level_db) if overlay_events > 1 or overlay_level_db else None
        self.mixup = Mixup(mixup, mixup_alpha) if mixup else None
        self.mask = SpecMask(mask_freq, mask_time) if mask_freq or mask_time else None
        self.seed = seed
        self.average_precision = AveragePrecision(len(self.labels))
        self.mean_loss = MeanMetric()
        self.about: dict[str, Any] = {}  # what the checkpoint says of its training
        self.seconds, self.started = 0.0, time.monotonic()  # of training, before this fit and since when

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (B, S) of waveforms (B, T) with the given lengths (B,), in samples."""
        return self.tagger(waveform, lengths)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Binary cross-entropy of an augmented batch, over all labels."""
        generator = torch.Generator(self.device).manual_seed(
            hash((self.seed, self.global_step, self.global_rank, batch_idx)) % 2**63
        )
        waveform, lengths, targets = batch["waveform"], batch["lengths"], batch["targets"]
        if self.speed is not None:
            waveform, lengths = self.speed(waveform, lengths, generator)
        waveform, lengths = self.tagger.fill(waveform, lengths)
        if self.overlay is not None:
            waveform, lengths, targets = self.overlay(waveform, lengths, targets, generator)
        if self.mixup is not None:
            waveform, lengths, targets = self.mixup(waveform, lengths, targets, generator)
        log_mel = self.tagger.frontend(waveform, lengths)
        if self.mask is not None:
            log_mel = self.mask(log_mel, generator)
        logits = self.tagger.network(self.tagger.frontend.normalize(log_mel)).logits
        loss = F.binary_cross_entropy_with_logits(logits, targets)
        self.log("train/loss", loss, prog_bar=True, batch_size=waveform.size(0))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and average precision of a batch."""
        self._evaluate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """As in validation; returns the scores (B, S)."""
        return self._evaluate("test", batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Scores (B, S) of a batch, in 0 … 1."""
        return self(batch["waveform"], batch["lengths"]).sigmoid()

    def on_validation_epoch_end(self) -> None:
        """Log val/loss and val/mAP over the whole epoch."""
        self._log_epoch("val")

    def on_test_epoch_end(self) -> None:
        """Log test/loss and test/mAP over the whole epoch."""
        self._log_epoch("test")

    def on_fit_start(self) -> None:
        """Start the clock that a checkpoint carries."""
        self.started = time.monotonic()

    def configure_optimizers(self) -> Any:
        """Adam with warm-up and decay."""
        optimizer = torch.optim.Adam(self.parameters(), self.lr, self.betas, 1e-8, self.weight_decay)
        self.trainer.fit_loop.setup_data()  # the number of batches is not known before
        total = self.trainer.estimated_stepping_batches
        per_epoch = math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)
        if not math.isfinite(total):
            if self.schedule["decay"] == "cosine":
                raise InputError("expected max_epochs or max_steps for a cosine decay, got an endless run; set one")
            total = 0
        schedule = Schedule(optimizer, steps_per_epoch=per_epoch, total_steps=int(total), **self.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def setup(self, stage: str) -> None:
        """Refuse data whose labels, in order, or sample rate are not those of the model."""
        data = getattr(self.trainer, "datamodule", None)
        theirs = getattr(data, "labels", None)
        rate = getattr(data, "sample_rate", self.tagger.frontend.sample_rate)
        if rate != self.tagger.frontend.sample_rate:
            raise InputError(
                f"expected clips at the model's {self.tagger.frontend.sample_rate} Hz, got {rate} Hz; "
                f"write the shards with --sample-rate {self.tagger.frontend.sample_rate}"
            )
        if theirs is not None:
            self._check_labels("shards", theirs, "write the shards with --labels, or train a model on these labels")

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights of a model with other labels or shapes, naming the differences."""
        theirs = checkpoint.get("atgnn", {}).get("labels")
        if theirs is not None:
            self._check_labels("a checkpoint", theirs, "use the checkpoint with data of its own labels")
        self.about = checkpoint.get("atgnn", {})
        self.seconds = self.about.get("seconds", 0.0)
        state, own = checkpoint["state_dict"], self.state_dict()
        wrong = [f"{key} is missing" for key in own if key not in state]
        wrong += [f"{key} is unknown" for key in state if key not in own]
        wrong += [
            f"{key} is {tuple(state[key].shape)}, not {tuple(own[key].shape)}"
            for key in own
            if key in state and state[key].shape != own[key].shape
        ]
        if wrong:
            more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            raise InputError(
                f"expected a checkpoint of this model, got one in which {'; '.join(wrong[:3])}{more}; "
                "use the settings it was trained with"
            )

    def _check_labels(self, what: str, theirs: list[str], advice: str) -> None:
        if list(theirs) == self.labels:
            return
        missing = [label for label in self.labels if label not in theirs]
        unknown = [label for label in theirs if label not in self.labels]
        raise InputError(
            f"expected {what} with the model's {len(self.labels)} labels in its order, got {len(theirs)} labels "
            f"(missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}); {advice}"
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the weights were trained on: labels, data and crop."""
        data = getattr(self._trainer, "datamodule", None) if self._trainer is not None else None
        checkpoint["atgnn"] = {
            "labels": self.labels,
            "clip_seconds": self.clip_seconds,
            "sample_rate": self.tagger.frontend.sample_rate,
            "manifest_hash": getattr(data, "manifest_hash", None),
            "parameters": sum(p.numel() for p in self.parameters() if p.requires_grad),
            "steps": checkpoint.get("global_step", 0),
            "seconds": self.seconds + time.monotonic() - self.started,
            "threads": torch.get_num_threads(),
        }

    def _evaluate(self, stage: Literal["val", "test"], batch: Batch) -> Tensor:
        logits, targets, mask = self(batch["waveform"], batch["lengths"]), batch["targets"], batch["mask"]
        loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)
        self.mean_loss.update(loss, mask.to(loss.dtype))
        self.average_precision.update(logits, targets, mask)
        return logits.sigmoid()

    def _log_epoch(self, stage: Literal["val", "test"]) -> None:
        self.log(f"{stage}/loss", self.mean_loss.compute())
        self.log(f"{stage}/mAP", mean_average_precision(self.average_precision.compute()), prog_bar=True)
        self.mean_loss.reset()
        self.average_precision.reset()


class ATGNN(TaggingModule):
    """Audio tagging graph neural network: waveform in, logits out.

    Every argument is a plain value and is kept in the checkpoint, so ``ATGNN.load_from_checkpoint(path)`` needs nothing
    else. Arguments not listed here are those of :class:`TaggingModule`.

    Args:
        labels: names of the S labels, in the order of the logits.
        variant: a size by name, see :mod:`atgnn.variants`.
        sample_rate: of the waveforms, in Hz.
        n_mels: F.
        f_min: lower edge of the mel bands, in Hz.
        f_max: upper edge, in Hz; half the sample rate where None.
        mean: mean of the data set's log-mels.
        std: their standard deviation.
        clip_seconds: length of the clips it is trained on, in seconds.
        short_clips: "pad" or "repeat" clips that are shorter, see :class:`atgnn.tagger.Tagger`.
        k: neighbours of each patch (PGN).
        label_k: patches that each label gathers from (PLG).
        depth: PGN blocks in all; the variant's own where None.
        plg: labels gather from patches.
        llg: labels support each other; without plg and llg there is no label graph (no MLG).
        bounded: the label graph that cannot blow up; False for the published form.
        tables: relative positions in frozen tables, as published; by default they are coordinates of the search.
        conv: graph convolution as {class_path, init_args}; max-relative where None.
        graph: graph construction as {class_path, init_args}; dilated k-NN where None.
        knn: k-NN back end: auto, dense or torch_cluster.
        dropout: dropout in the patch head.
        drop_path: stochastic depth of the last PGN block.
        training: arguments of :class:`TaggingModule`.

    Shape:
        waveform: (B, T).
        lengths: (B,), in samples.
        returns: logits (B, S).

    Source: arXiv 2311.01526.
    """

    def __init__(
        self,
        labels: list[str],
        variant: str = "pyramid-s",
        *,
        sample_rate: int = 16000,
        n_mels: int = 128,
        f_min: float = 20.0,
        f_max: float | None = None,
        mean: float = -4.6476,
        std: float = 4.5699,
        clip_seconds: float = 10.24,
        short_clips: Literal["pad", "repeat"] = "pad",
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
        **training: Any,
    ) -> None:
        frontend = LogMel(sample_rate, n_mels, f_min, f_max, mean, std)
        network = ATGNNNetwork(
            len(labels),
            variant,
            n_mels=n_mels,
            n_frames=frontend.num_frames(round(clip_seconds * sample_rate)),
            k=k,
            label_k=label_k,
            depth=depth,
            plg=plg,
            llg=llg,
            bounded=bounded,
            tables=tables,
            conv=conv,
            graph=graph,
            knn=knn,
            dropout=dropout,
            drop_path=drop_path,
        )
        super().__init__(Tagger(frontend, network, short_clips), labels, clip_seconds=clip_seconds, **training)
        self.save_hyperparameters()
