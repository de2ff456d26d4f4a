"""Callbacks that look at a model when it is tested, so that what they see is kept with the scores of the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from atgnn.analysis.cost import log_measures
from atgnn.analysis.grounding import grounding
from atgnn.analysis.label_graph import label_graph
from atgnn.analysis.quality import feature_space
from atgnn.analysis.truth import known_scenes
from atgnn.audio.resample import resample
from atgnn.data.index import read_splits
from atgnn.metrics import TaggingMetrics
from atgnn.module import ATGNN


class SceneProbe(L.Callback):
    """Log what an ATGNN makes of scenes whose events are known, before training (``untrained/…``) and in a test.

    Measures are those of :func:`~atgnn.analysis.quality.feature_space`, :func:`~atgnn.analysis.grounding.grounding`
    where labels gather from patches, and :func:`~atgnn.analysis.label_graph.label_graph` where they support each other.

    Args:
        clips: shards of single events that scenes are mixed of; networks with other labels are let be.
        split: split of the events.
        scenes: how many, but no more than two for each test batch.
        curves: how many of them deletion and insertion curves are made of, in the test.
    """

    def __init__(
        self, clips: str = "data/shards/mini/clips", split: str = "test", scenes: int = 38, curves: int = 0
    ) -> None:
        self.clips, self.split, self.scenes, self.curves = Path(clips), split, scenes, curves
        self._untrained: dict[str, float] = {}

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Look at the network before its first step."""
        self._untrained = self._look(trainer, module, int(trainer.num_training_batches), 0)

    def on_test_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Look at it again, and log both."""
        measures = self._look(trainer, module, int(sum(trainer.num_test_batches)), self.curves)
        log_measures(module, measures, "test")
        log_measures(module, self._untrained, "untrained")

    def _look(self, trainer: L.Trainer, module: L.LightningModule, batches: int, curves: int) -> dict[str, float]:
        (index,) = read_splits(self.clips, [self.split])
        if not isinstance(module, ATGNN) or module.labels != index.labels:
            return {}
        training, state = module.training, torch.get_rng_state()
        module.eval()
        scenes = list(
            known_scenes(
                self.clips,
                module.tagger.frontend,
                split=self.split,
                scenes=min(self.scenes, 2 * batches),
                seconds=module.clip_seconds,
            )
        )
        measures = feature_space(module, scenes)
        stages: Any = module.network.label_stages
        if stages and stages[-1].gather:
            measures |= grounding(module, scenes, curves)
        if stages and stages[-1].support:
            measures |= label_graph(module, training_targets(trainer), scenes)
        module.train(training)
        torch.set_rng_state(state)
        return {name: value for name, value in measures.items() if np.isfinite(value)}


def training_targets(trainer: L.Trainer) -> np.ndarray:
    """Labels of all training clips, (B, S) of 0 and 1, from the index of their shards."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    used = [data.splits[name] for name in data.train]
    rows = [row for split in used for shard in split.shards for row in shard.targets]
    targets = np.zeros((len(rows), len(data.labels)), dtype=int)
    for row, labels in enumerate(rows):
        targets[row, labels] = 1
    return targets


class OtherRates(L.Callback):
    """Log mAP of a test in which clips come from recordings at other sample rates: ``test/mAP/8000`` and so on.

    Clips are brought to each rate and back to the model's, so that what a lower rate cannot hold is gone.

    Args:
        rates: in Hz.
    """

    def __init__(self, rates: Sequence[int] = (8000, 11025, 16000, 22050, 32000, 48000)) -> None:
        self.rates = tuple(rates)
        self._metrics: dict[int, TaggingMetrics] = {}

    def on_test_epoch_start(self, trainer: L.Trainer, module: Any) -> None:
        """Begin anew."""
        self._metrics = {rate: TaggingMetrics(len(module.labels)).to(module.device) for rate in self.rates}

    def on_test_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, *_: int) -> None:
        """Score the batch once for every rate."""
        for rate, metrics in self._metrics.items():
            waveform = through_rate(batch["waveform"], module.tagger.frontend.sample_rate, rate)
            metrics.update(module.score(waveform, batch["lengths"]), batch["targets"], batch["mask"])

    def on_test_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Log the metric of every rate."""
        for rate, metrics in self._metrics.items():
            module.log(f"test/mAP/{rate:05d}", metrics.compute()["mAP"], batch_size=1)


def through_rate(waveform: Tensor, sample_rate: int, rate: int) -> Tensor:
    """Waveforms (B, T) as they would be, had they been kept at another rate."""
    if rate == sample_rate:
        return waveform
    there_and_back = [resample(resample(row, sample_rate, rate), rate, sample_rate) for row in waveform]
    samples = waveform.size(1)
    return torch.stack(
        [torch.nn.functional.pad(row, (0, max(0, samples - len(row))))[:samples] for row in there_and_back]
    )
