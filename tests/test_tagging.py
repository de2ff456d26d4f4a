from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor, nn
from torch.utils.data import DataLoader

from atgnn.audio.frontend import LogMel
from atgnn.errors import InputError
from atgnn.inference.files import hear_sound
from atgnn.module import ATGNN
from atgnn.network import TaggingOutput
from atgnn.tagger import Tagger
from atgnn.tagging import TaggingModule

LABELS = ["bell", "cat", "dog", "engine"]
SAMPLES = 5120
PLAIN = {"mixup": 0.0, "mask_freq": 0, "mask_time": 0}

Batch = dict[str, Any]
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*`self.log", "ignore:.*does not have many workers", "ignore:.*lr_scheduler"
)


def tiny(**settings: Any) -> ATGNN:
    return ATGNN(
        **{"labels": LABELS, "variant": "pyramid-nano", "n_mels": 32, "clip_seconds": SAMPLES / 16000, "k": 3}
        | settings
    )


def tones(clips: int = 8, seed: int = 0) -> Batch:
    """A batch of tones; each label has a pitch of its own, and every other clip has two."""
    random = torch.Generator().manual_seed(seed)
    targets = torch.eye(4).repeat(clips, 1)[:clips]
    targets[1::2] += torch.eye(4).roll(1, 0).repeat(clips, 1)[1:clips:2]
    pitch = torch.tensor([300.0, 900, 2000, 5000])[:, None]
    time = torch.arange(SAMPLES) / 16000
    waveform = 0.2 * targets @ torch.sin(2 * math.pi * pitch * time)
    lengths = torch.full((clips,), SAMPLES)
    lengths[0] = 2000
    waveform[0, 2000:] = 0
    return {
        "waveform": waveform + 1e-3 * torch.randn(waveform.shape, generator=random),
        "lengths": lengths,
        "targets": targets.clamp(max=1),
        "mask": torch.ones(clips, dtype=torch.bool),
        "key": [f"clip{n}" for n in range(clips)],
    }


class Tones(L.LightningDataModule):
    """Shards as far as a model can tell."""

    manifest_hash = "abc"

    def __init__(
        self, labels: list[str] = LABELS, batches: list[Batch] | None = None, sample_rate: int = 16000
    ) -> None:
        super().__init__()
        self.labels = labels
        self.sample_rate = sample_rate
        self.batches = batches or [tones(seed=n) for n in range(3)]

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.batches, batch_size=None)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., L.Trainer]:
    def make(**settings: Any) -> L.Trainer:
        quiet = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "enable_checkpointing", "logger"), False)
        return L.Trainer(**quiet | {"accelerator": "cpu", "max_epochs": 1, "default_root_dir": tmp_path} | settings)

    return make


@pytest.mark.parametrize("samples", [1, 100, 4000, 2 * SAMPLES])
def test_clips_of_any_length_are_tagged_and_trained_on(samples: int) -> None:
    model, batch = tiny(), tones()
    batch |= {"waveform": torch.randn(8, samples), "lengths": torch.full((8,), samples)}
    model.training_step(batch, 0).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model.eval()(batch["waveform"], batch["lengths"]).isfinite().all()


def test_masked_clips_have_no_part_in_the_loss() -> None:
    model, batch = tiny(**PLAIN).eval(), tones()
    kept = {name: value[:5] for name, value in batch.items()}
    batch["waveform"][5:], batch["mask"][5:] = 0, False
    assert model.training_step(batch, 0).item() == pytest.approx(model.training_step(kept, 0).item(), rel=1e-5)
    batch["mask"][:] = False
    loss = model.training_step(batch, 0)
    loss.backward()
    assert loss.item() == 0
    assert all(not p.grad.any() for p in model.parameters() if p.grad is not None)


def test_augmentation_is_drawn_for_every_seed_step_and_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(overlay_events=3, mask_freq=8, mask_time=8, plg=False, llg=False, drop_path=0.0)
    batch = tones()

    def loss(**place: int) -> float:
        with monkeypatch.context() as patch:
            for name, value in place.items():
                patch.setattr(ATGNN if name.startswith("global") else model, name, value)
            return model.training_step(batch, 0).item()

    first = loss()
    torch.rand(3)  # the global generator has no part in it
    assert loss() == first
    assert len({first, loss(seed=1), loss(global_step=1), loss(global_rank=1)}) == 4


def test_loss_is_the_binary_cross_entropy_of_the_probabilities() -> None:
    model, batch = tiny(**PLAIN, drop_path=0.0, plg=False, llg=False), tones()
    p, y = model(batch["waveform"], batch["lengths"]).sigmoid(), batch["targets"]
    expected = -(y * p.log() + (1 - y) * (1 - p).log()).mean()
    torch.testing.assert_close(model.training_step(batch, 0), expected)


def test_a_batch_is_learned_in_a_few_steps() -> None:
    model, batch = tiny(**PLAIN), tones()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for step in range(12):
        loss = model.training_step(batch, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_fit_validate_and_test(trainer: Callable[..., L.Trainer]) -> None:
    model, data = tiny(warmup_steps=4, lr=1e-3), Tones()
    train = trainer(max_epochs=2)
    train.fit(model, datamodule=data)
    assert {"train/loss", "val/loss", "val/mAP", "val/mAUC", "val/dprime", "val/lwlrap"} <= set(train.callback_metrics)
    assert train.global_step == 6
    (optimizer,) = train.optimizers
    assert optimizer.param_groups[0]["lr"] == 1e-3
    assert optimizer.defaults | {"betas": (0.95, 0.999), "eps": 1e-8, "weight_decay": 5e-7} == optimizer.defaults
    (validated,), (tested,) = train.validate(model, datamodule=data), train.test(model, datamodule=data)
    assert validated["val/mAP"] == pytest.approx(tested["test/mAP"])


@pytest.mark.parametrize(
    ("max_epochs", "max_steps"),
    [
        (2, -1),
        (-1, 6),
        (50, 6),
    ],
)
def test_learning_rate_follows_its_schedule(trainer: Callable[..., L.Trainer], max_epochs: int, max_steps: int) -> None:
    rates = []

    class Watch(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    model = tiny(warmup_steps=2, lr=1.0, decay_start=1, decay_every=1)
    train = trainer(max_epochs=max_epochs, max_steps=max_steps, callbacks=[Watch()], limit_val_batches=0)
    train.fit(model, datamodule=Tones())
    assert rates == [0.5, 1, 1, 0.5, 0.5, 0.5]


def test_mean_average_precision_is_over_the_epoch_and_the_mask(trainer: Callable[..., L.Trainer]) -> None:
    model, batches = tiny(), [tones(seed=n) for n in range(3)]
    batches[2]["mask"][3:] = False
    (metrics,) = trainer().validate(model, datamodule=Tones(batches=batches), verbose=False)
    kept = [(model.eval()(b["waveform"], b["lengths"])[b["mask"]], b["targets"][b["mask"]]) for b in batches]
    logits, targets = (torch.cat(part).detach() for part in zip(*kept, strict=True))
    assert len(logits) == 19
    assert metrics["val/mAP"] == pytest.approx(average_precision_score(targets, logits, average="macro"), abs=1e-5)
    expected = nn.functional.binary_cross_entropy_with_logits(logits, targets)
    assert metrics["val/loss"] == pytest.approx(expected.item(), rel=1e-4)


def test_a_batch_of_filling_clips_changes_nothing(trainer: Callable[..., L.Trainer]) -> None:
    model, batches = tiny(), [tones(seed=n) for n in range(2)]
    (expected,) = trainer().validate(model, datamodule=Tones(batches=batches), verbose=False)
    filling = tones() | {"mask": torch.zeros(8, dtype=torch.bool)}
    (metrics,) = trainer().validate(model, datamodule=Tones(batches=[*batches, filling]), verbose=False)
    assert metrics == pytest.approx(expected)


def test_a_checkpoint_says_what_it_was_trained_on(trainer: Callable[..., L.Trainer], tmp_path: Path) -> None:
    model, train = tiny(protocol="windows"), trainer(limit_val_batches=0)
    train.fit(model, datamodule=Tones())
    train.save_checkpoint(tmp_path / "model.ckpt")
    about = torch.load(tmp_path / "model.ckpt", weights_only=True)["atgnn"]
    assert about.pop("seconds") > 0
    assert about == {
        "labels": LABELS,
        "clip_seconds": SAMPLES / 16000,
        "protocol": "windows",
        "sample_rate": 16000,
        "class_path": f"{type(model).__module__}.{type(model).__qualname__}",
        "manifest_hash": "abc",
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": train.global_step,
        "threads": torch.get_num_threads(),
    }


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["bell", "cat", "dog"], r"model's 4 labels in its order, got 3 labels \(missing: engine; unknown: none\)"),
        (
            ["bell", "cat", "dog", "wind"],
            r"got 4 labels \(missing: engine; unknown: wind\); write the shards with --labels",
        ),
        (LABELS[::-1], r"in its order, got 4 labels \(missing: none; unknown: none\)"),
    ],
)
def test_other_labels_are_refused(trainer: Callable[..., L.Trainer], labels: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        trainer().fit(tiny(), datamodule=Tones(labels))


def test_another_sample_rate_is_refused(trainer: Callable[..., L.Trainer]) -> None:
    with pytest.raises(InputError, match=r"expected .*16000 Hz, got 32000 Hz"):
        trainer().fit(tiny(), datamodule=Tones(sample_rate=32000))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"labels": [*LABELS[:3], "wind"]},
            r"expected a checkpoint with the model's 4 labels in its order, got 4 labels",
        ),
        ({"variant": "pyramid-micro"}, "expected a checkpoint of this model, got one in which .* use the settings"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(
    trainer: Callable[..., L.Trainer], tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    train = trainer()
    train.strategy.connect(tiny())
    train.save_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    with pytest.raises(InputError, match=message):
        ATGNN.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True, **settings)


def long_tones() -> Batch:
    """A batch of clips up to three times as long as the model's."""
    random = torch.Generator().manual_seed(3)
    lengths = torch.tensor([3 * SAMPLES, 2000, SAMPLES, SAMPLES + 1])
    waveform = 0.1 * torch.randn(4, 3 * SAMPLES, generator=random) * (torch.arange(3 * SAMPLES) < lengths[:, None])
    return tones(4) | {"waveform": waveform, "lengths": lengths}


def test_by_windows_a_batch_is_a_loop_over_its_clips() -> None:
    model, batch = tiny(protocol="windows").eval(), long_tones()
    together = model.test_step(batch, 0)
    for row, length in enumerate(batch["lengths"].tolist()):
        alone = {key: value[row : row + 1] for key, value in batch.items()}
        alone["waveform"] = alone["waveform"][:, :length]
        torch.testing.assert_close(model.test_step(alone, 0), together[row : row + 1], rtol=1e-4, atol=1e-5)
        heard = hear_sound(model, batch["waveform"][row, :length], model.tagger.frontend.sample_rate)
        recording = heard.windows.pooled()[0].sigmoid()
        torch.testing.assert_close(model.predict_step(alone, 0)[0], recording, rtol=1e-4, atol=1e-5)


def test_both_protocols_hear_short_clips_alike() -> None:
    model, batch = tiny().eval(), tones()
    first = model.test_step(batch, 0)
    model.protocol = "windows"
    torch.testing.assert_close(model.test_step(batch, 0), first)


def test_metrics_are_of_the_whole_clips(trainer: Callable[..., L.Trainer]) -> None:
    model, batch = tiny(protocol="windows"), long_tones()
    (metrics,) = trainer().test(model, datamodule=Tones(batches=[batch]), verbose=False)
    with torch.inference_mode():
        logits = model.eval().test_step(batch, 0)
    expected = average_precision_score(batch["targets"], logits, average="macro")
    assert metrics["test/mAP"] == pytest.approx(expected, abs=1e-5)


def test_another_protocol_is_refused() -> None:
    with pytest.raises(InputError, match="expected protocol first or windows, got all"):
        tiny(protocol="all")


class Linear(nn.Module):
    """A network of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(32, 4)

    def forward(self, log_mel: Tensor) -> TaggingOutput:
        return TaggingOutput(self.linear(log_mel.mean((1, 3))))


def test_any_network_can_be_trained(trainer: Callable[..., L.Trainer]) -> None:
    module = TaggingModule(Tagger(LogMel(n_mels=32), Linear()), LABELS)
    train = trainer()
    train.fit(module, datamodule=Tones())
    assert train.callback_metrics["val/mAP"].isfinite()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_training(trainer: Callable[..., L.Trainer], value: float) -> None:
    class Broken(Linear):
        def forward(self, log_mel: Tensor) -> TaggingOutput:
            wrong = torch.zeros(len(log_mel), 1).index_fill(0, torch.tensor([2, 5]), -value)
            return TaggingOutput(super().forward(log_mel).logits + wrong)

    module = TaggingModule(Tagger(LogMel(n_mels=32), Broken()), LABELS, **PLAIN)
    with pytest.raises(
        InputError, match=r"expected a finite training loss, got (nan|inf) at step 0 from .* clip2, clip5"
    ):
        trainer(limit_val_batches=0).fit(module, datamodule=Tones())
