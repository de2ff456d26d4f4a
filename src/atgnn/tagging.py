"""TaggingModule: training, validation and test of any Tagger."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

from atgnn.agreement import check_data, check_labels, check_state
from atgnn.audio.augment import Mixup, Overlay, SpecMask, Speed, change_speed
from atgnn.errors import InputError
from atgnn.metrics import TaggingMetrics
from atgnn.requeue import WholeSteps
from atgnn.schedule import Decay, Schedule
from atgnn.tagger import Tagger
from atgnn.windows import Protocol, tag_windows

if TYPE_CHECKING:
    from atgnn.inference.files import Sound, Tag

Batch = dict[str, Any]


class TaggingModule(L.LightningModule):
    """Loss, augmentation, metrics and optimiser around a Tagger.

    A batch is a dict ``{waveform (B, T), lengths (B,), targets (B, S), mask (B,), key: list[str]}``.

    Args:
        tagger: the model.
        labels: names of the S labels, in the order of the logits.
        clip_seconds: length of the clips it is trained on, in seconds; other lengths work, and files are cut to it.
        protocol: what is scored of a clip: its "first" ``clip_seconds``, or all of it by "windows" of that length.
        test_speeds: a clip is scored at each of these speeds, and the logits are averaged; [1] to score it as it is.
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

    Raises:
        InputError: if a training loss is not finite, or data or a checkpoint do not fit the model.
    """

    def __init__(
        self,
        tagger: Tagger,
        labels: list[str],
        *,
        clip_seconds: float = 10.24,
        protocol: Protocol = "first",
        test_speeds: Sequence[float] = (1.0,),
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
        if protocol not in get_args(Protocol):
            raise InputError(f"expected protocol {' or '.join(get_args(Protocol))}, got {protocol}; name one of them")
        self.tagger = tagger
        self.labels = list(labels)
        self.clip_seconds = clip_seconds
        self.protocol = protocol
        self.test_speeds = tuple(test_speeds)
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
        self.metrics = TaggingMetrics(len(self.labels))
        self.about: dict[str, Any] = {}  # what the checkpoint says of its training
        self.seconds, self.started = 0.0, time.monotonic()  # of training, before this fit and since when

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (B, S) of waveforms (B, T) with the given lengths (B,), in samples."""
        return self.tagger(waveform, lengths)

    def score(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, S) as they are tested: averaged over ``test_speeds``."""
        heard = [
            self(*change_speed(waveform, lengths, torch.full_like(lengths, speed, dtype=waveform.dtype)))
            for speed in self.test_speeds
        ]
        return torch.stack(heard).mean(dim=0)

    def tag(self, sound: Sound, sample_rate: int | None = None) -> list[Tag]:
        """Tag a recording of any length: every label with its score, the most probable first.

        Args:
            sound: a path, or a waveform (T,) or (channels, T).
            sample_rate: of a waveform.

        Raises:
            InputError: if it cannot be read.
        """
        from atgnn.inference.files import hear_sound

        return hear_sound(self.eval(), sound, sample_rate).tags(self)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Binary cross-entropy of an augmented batch, over all labels of the clips that its mask leaves in."""
        # Dropout too, so that a resumed run draws what an unbroken one does.
        seed = hash((self.seed, self.global_step, self.global_rank, batch_idx)) % 2**63
        torch.manual_seed(seed)
        generator = torch.Generator(self.device).manual_seed(seed)
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
        losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)
        loss = (losses * batch["mask"]).sum() / batch["mask"].sum().clamp(min=1)
        # Waits for the device, which costs next to nothing beside a step; a later look would not know the batch.
        if not loss.isfinite():
            wrong = [key for key, fine in zip(batch["key"], losses.isfinite().tolist(), strict=True) if not fine]
            raise InputError(
                f"expected a finite training loss, got {loss.item()} at step {self.global_step} from the clips "
                f"{', '.join(wrong)}, or what was mixed into them; listen to these, train in 32-true or lower lr"
            )
        self.log("train/loss", loss, prog_bar=True, batch_size=waveform.size(0))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Add a batch to the metrics; returns the logits (B, S)."""
        return self._evaluate(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """As in validation."""
        return self._evaluate(batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Probabilities (B, S) of a batch."""
        return self._clip_logits(batch).sigmoid()

    def on_validation_epoch_end(self) -> None:
        """Log val/loss, val/mAP, … over the whole epoch."""
        self._log_epoch("val")

    def on_test_epoch_end(self) -> None:
        """Log test/loss, test/mAP, … over the whole epoch."""
        self._log_epoch("test")

    def on_fit_start(self) -> None:
        """Start the clock that a checkpoint carries."""
        self.started = time.monotonic()

    def configure_callbacks(self) -> list[L.Callback]:
        """Callbacks that every training needs."""
        return [WholeSteps()]

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
        """Refuse data whose labels, in order, sample rate or protocol are not those of the model."""
        data = getattr(self.trainer, "datamodule", None)
        check_data(data, self.labels, self.tagger.frontend.sample_rate, self.protocol)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights of a model with other labels or shapes, naming the differences."""
        self.about = checkpoint.get("atgnn", {})
        theirs = self.about.get("labels", self.labels)
        check_labels("a checkpoint", theirs, self.labels, "use the checkpoint with data of its own labels")
        check_state(checkpoint["state_dict"], self.state_dict())
        self.seconds = self.about.get("seconds", 0.0)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the weights were trained on: labels, data and crop."""
        data = getattr(self._trainer, "datamodule", None) if self._trainer is not None else None
        checkpoint["atgnn"] = {
            "class_path": class_path_of(type(self)),
            "labels": self.labels,
            "clip_seconds": self.clip_seconds,
            "protocol": self.protocol,
            "sample_rate": self.tagger.frontend.sample_rate,
            "manifest_hash": getattr(data, "manifest_hash", None),
            "parameters": sum(p.numel() for p in self.parameters() if p.requires_grad),
            "steps": checkpoint.get("global_step", 0),
            "seconds": self.seconds + time.monotonic() - self.started,
            "threads": torch.get_num_threads(),
        }

    def _evaluate(self, batch: Batch) -> Tensor:
        logits = self._clip_logits(batch)
        self.metrics.update(logits, batch["targets"], batch["mask"])
        return logits

    def _clip_logits(self, batch: Batch) -> Tensor:
        waveform, lengths = batch["waveform"], batch["lengths"]
        if self.protocol == "first":
            return self.score(waveform, lengths)
        size = round(self.clip_seconds * self.tagger.frontend.sample_rate)
        return tag_windows(self.score, waveform, lengths, size, batch_size=len(waveform)).pooled()

    def _log_epoch(self, stage: Literal["val", "test"]) -> None:
        for name, value in self.metrics.compute().items():
            self.log(f"{stage}/{name}", value, prog_bar=name == "mAP")
        self.metrics.reset()


def class_path_of(cls: type) -> str:
    """Where a class is imported from."""
    return f"{cls.__module__}.{cls.__qualname__}"
