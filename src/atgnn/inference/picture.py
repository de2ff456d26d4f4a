"""A picture of a recording: its log-mel spectrogram, with the tags over it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from atgnn.audio.files import read_audio
from atgnn.inference.files import hear_sound
from atgnn.inference.timeline import moments
from atgnn.tagging import TaggingModule


def draw_tags(model: TaggingModule, path: str | Path, out: Path, seconds: float = 20.0, top: int = 6) -> None:
    """Draw the start of a recording and write it as PNG, SVG or PDF, by the ending of ``out``.

    Args:
        model: in eval mode.
        path: the recording.
        out: picture to write.
        seconds: how much of the recording is drawn.
        top: how many tags.
    """
    rate = model.tagger.frontend.sample_rate
    waveform = read_audio(path, rate)[: round(seconds * rate)]
    out.parent.mkdir(parents=True, exist_ok=True)
    tags_figure(model, waveform, Path(path).name, top).savefig(out, dpi=120)


@torch.inference_mode()
def tags_figure(model: TaggingModule, waveform: Tensor, name: str, top: int = 6) -> Figure:
    """Draw a waveform (T,) at the model's rate.

    Above: the log-mel spectrogram. Below: the scores of the most probable tags, at each moment the
    largest of the half-overlapping windows that cover it.
    """
    frontend = model.tagger.frontend
    rate = frontend.sample_rate
    windows = hear_sound(model, waveform, rate).windows
    total = windows.pooled()[0].sigmoid()
    best = total.argsort(descending=True)[:top].tolist()

    duration = waveform.size(0) / rate
    figure = Figure(figsize=(9, 5), layout="constrained")
    spectrum, timeline = figure.subplots(2, 1, sharex=True, height_ratios=(3, 0.4 + 0.28 * len(best)))
    valid = max(1, (waveform.size(0) - frontend.win_length) // frontend.hop_length + 1)
    log_mel = frontend(waveform)[0, 0, :, :valid].numpy()
    spectrum.imshow(
        log_mel, origin="lower", aspect="auto", cmap="magma", interpolation="nearest",
        extent=(0, duration, 0, log_mel.shape[0]), vmin=np.quantile(log_mel, 0.05),
    )  # fmt: skip
    spectrum.set_yticks(*mel_ticks(frontend.mel, rate))
    spectrum.set_ylabel("frequency (Hz, mel scale)")
    names = "   ".join(f"{model.labels[i]} {total[i]:.2f}" for i in best[:3])
    spectrum.set_title(f"{name}\n{names}", loc="left")

    ends = (windows.start + round(model.clip_seconds * rate)).clamp(max=waveform.size(0))
    edges, held = moments(windows.start, ends, windows.logits[:, best].sigmoid())
    image = timeline.pcolormesh(edges / rate, np.arange(len(best) + 1) - 0.5, held.T, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=timeline, label="score")
    timeline.invert_yaxis()
    timeline.set_yticks(range(len(best)), [f"{model.labels[i]}  {total[i]:.2f}" for i in best])
    timeline.set_xlabel("time (s)")
    return figure


def mel_ticks(mel: Tensor, rate: int) -> tuple[list[int], list[str]]:
    """Bins of the mel bank nearest to round frequencies, and their names."""
    centers = mel.argmax(dim=0) * (rate / 2) / (mel.size(0) - 1)
    wanted = [f for f in (100, 250, 500, 1000, 2000, 4000, 8000) if f < 0.95 * rate / 2]
    return [int((centers - f).abs().argmin()) for f in wanted], [str(f) for f in wanted]
