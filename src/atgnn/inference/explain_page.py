"""`atgnn explain`: an explanation as one page without outside parts, or as a picture."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from atgnn.audio.files import encode_flac
from atgnn.checkpoint import load_model
from atgnn.errors import InputError
from atgnn.inference.explain import Explanation, explain_sound
from atgnn.inference.picture import mel_ticks
from atgnn.module import ATGNN

COLORS = "cividis"
DB = 10 / math.log(10)  # of a natural logarithm of power


def explain(
    file: Path,
    *,
    label: str | None = None,
    out: Path = Path("explanation.html"),
    checkpoint: Path | None = None,
    draws: int = 12,
) -> str:
    """Show why a label is heard in a recording.

    The page, which is one file, plays the sound and shows its spectrogram with the patches that the label gathered from
    in each stage, the neighbours of the patch you choose, what other labels added to its score, and the score once
    these patches, or as many random ones, are removed.

    Args:
        file: the recording; of a long one, the window in which the label is most probable.
        label: which; the most probable one where none is given.
        out: .html for the page; .png, .svg or .pdf for a picture.
        checkpoint: the model, as written by `atgnn fit`; the small bundled one where none is given.
        draws: how often random patches are removed.
    """
    if out.suffix not in (".html", ".png", ".svg", ".pdf"):
        raise InputError(f"expected --out to end with .html or .png, .svg, .pdf; got {out}")
    model = load_model(checkpoint)
    explanation = explain_sound(model, file, label, draws=draws)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".html":
        out.write_text(explanation_page(model, explanation), encoding="utf-8")
    else:
        draw_explanation(model, explanation).savefig(out, dpi=130)
    return f"wrote {out}: {explanation.label}, score {explanation.score:.3f}"


def explanation_page(model: ATGNN, explanation: Explanation) -> str:
    """The page, as HTML that needs nothing else."""
    log_mel, low, high = _levels(explanation)
    image = (colormaps[COLORS](np.clip((log_mel[::-1] - low) / (high - low), 0, 1))[..., :3] * 255).astype(np.uint8)
    frontend = model.tagger.frontend
    page = Environment(loader=PackageLoader("atgnn.inference", "."), autoescape=True).get_template("explain.html")
    return page.render(
        e=explanation,
        image=_data("image/png", _png(image)),
        sound=_data("audio/flac", encode_flac(explanation.waveform, frontend.sample_rate)),
        ticks=list(zip(*mel_ticks(frontend.mel, frontend.sample_rate), strict=True)),
        bins=log_mel.shape[0],
        frames=log_mel.shape[1],
        hop=frontend.hop_length / frontend.sample_rate,
        colors=[tuple(int(255 * c) for c in colormaps[COLORS](i / 8)[:3]) for i in range(9)],
        decibels=(round(low * DB), round(high * DB)),
        stages=[asdict(stage) for stage in explanation.stages],
    )


def draw_explanation(model: ATGNN, explanation: Explanation) -> Figure:
    """A picture: a spectrogram for each stage with what the label gathered, and the scores without it."""
    frontend = model.tagger.frontend
    log_mel, low, high = _levels(explanation)
    hop, first = frontend.hop_length / frontend.sample_rate, explanation.start
    count = len(explanation.stages)
    figure = Figure(figsize=(10, 1.7 * count + 2.6), layout="constrained")
    axes = figure.subplots(count + 1, 1, height_ratios=[1.7] * count + [2])
    title = f"{explanation.name}: {explanation.label}, score {explanation.score:.2f}"
    figure.suptitle(f"{title}\nframed: the patches that the label gathered from", x=0.01, ha="left")
    for number, (stage, ax) in enumerate(zip(explanation.stages, axes, strict=False), start=1):
        mesh = ax.imshow(
            log_mel, origin="lower", aspect="auto", cmap=COLORS, vmin=low, vmax=high, interpolation="nearest",
            extent=(first, first + hop * log_mel.shape[1], 0, log_mel.shape[0]),
        )  # fmt: skip
        for patch in stage.gathered:
            f, t, f_end, t_end = stage.patches[patch]
            corner, width, height = (first + hop * t, f), hop * (t_end - t), f_end - f
            for color, line in (("black", 2.4), ("white", 1.1)):
                ax.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=color, linewidth=line))
        rows, names = mel_ticks(frontend.mel, frontend.sample_rate)
        ax.set_yticks(rows[1::2], names[1::2])
        ax.set_ylabel(f"stage {number}\nHz (mel scale)")
    axes[count - 1].set_xlabel("time (s)")
    bar = figure.colorbar(mesh, ax=list(axes[:count]), format=lambda value, _: f"{value * DB:.0f}")
    bar.set_label("level (dB)")
    _draw_removals(axes[count], explanation)
    return figure


def _draw_removals(ax: Axes, explanation: Explanation) -> None:
    rows = range(len(explanation.removals))
    ax.axvline(explanation.score, color="black", linewidth=1, label="as it is")
    for row, removal in enumerate(explanation.removals):
        label = "random patches removed" if row == 0 else None
        ax.plot(removal.random, [row] * len(removal.random), "|", color="#0072B2", markersize=11, label=label)
    without = [removal.score for removal in explanation.removals]
    ax.plot(without, rows, "o", color="#D55E00", label="gathered patches removed")
    ax.set_yticks(rows, [f"{removal.name} ({removal.patches})" for removal in explanation.removals])
    ax.invert_yaxis()
    ax.set_xlim(-0.02, 1.02)
    ax.set_xlabel(f"score of {explanation.label}")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=3, frameon=False)


def _levels(explanation: Explanation) -> tuple[np.ndarray, float, float]:
    """The log-mel, as low as can be where it is padding, and the range that is drawn."""
    log_mel = explanation.log_mel.numpy().copy()
    sound = log_mel[:, : explanation.frames]
    low, high = np.quantile(sound, 0.05), sound.max()
    log_mel[:, explanation.frames :] = low
    return log_mel, float(low), float(max(high, low + 1))


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
