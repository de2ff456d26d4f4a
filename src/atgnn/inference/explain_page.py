"""`atgnn explain`: an explanation as one page without outside parts, or as a picture."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

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

COLORS, PLUS, MINUS = "cividis", "#0072B2", "#D55E00"  # told apart by the colour-blind, and in print
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
    if draws < 1:
        raise InputError(f"expected --draws of at least 1, got {draws}; more tell more")
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
        links=strongest(explanation.links),
        image=_data("image/png", _png(image)),
        sound=_data("audio/flac", encode_flac(explanation.waveform, frontend.sample_rate)),
        ticks=list(zip(*mel_ticks(frontend.mel, frontend.sample_rate), strict=True)),
        bins=log_mel.shape[0],
        frames=log_mel.shape[1],
        hop=frontend.hop_length / frontend.sample_rate,
        colors=[tuple(int(255 * c) for c in colormaps[COLORS](i / 8)[:3]) for i in range(9)],
        decibels=(round(low), round(high)),
        stages=[asdict(stage) for stage in explanation.stages],
    )


def draw_explanation(model: ATGNN, explanation: Explanation) -> Figure:
    """A picture: a spectrogram for each stage with what the label gathered, the scores without it, and its links."""
    frontend = model.tagger.frontend
    log_mel, low, high = _levels(explanation)
    hop, first = frontend.hop_length / frontend.sample_rate, explanation.start
    count = len(explanation.stages)
    figure = Figure(figsize=(10, 1.7 * count + 2.6), layout="constrained")
    mosaic: Any = [*([number, number] for number in range(count)), ["removals", "links"]]
    axes = figure.subplot_mosaic(mosaic, height_ratios=[1.7] * count + [2], width_ratios=[5, 2])
    title = f"{explanation.name}: {explanation.label}, score {explanation.score:.2f}"
    figure.suptitle(f"{title}\nframed: the patches that the label gathered from", x=0.01, ha="left")
    for number, stage in enumerate(explanation.stages):
        ax = axes[number]
        mesh = ax.imshow(
            log_mel, origin="lower", aspect="auto", cmap=COLORS, vmin=low, vmax=high, interpolation="nearest",
            extent=(first, first + hop * log_mel.shape[1], 0, log_mel.shape[0]),
        )  # fmt: skip
        for patch in stage.gathered:
            f, t, f_end, t_end = stage.patches[patch]
            corner, width, height = (first + hop * t, f), hop * (t_end - t), f_end - f
            for color, line in (("black", 2.4), ("white", 1.1)):
                ax.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=color, linewidth=line))
        bins, names = mel_ticks(frontend.mel, frontend.sample_rate)
        ax.set_yticks(bins[1::2], names[1::2])
        ax.set_ylabel(f"stage {number + 1}\nHz (mel scale)")
        ax.tick_params(labelbottom=number == count - 1)
    axes[count - 1].set_xlabel("time (s)")
    figure.colorbar(mesh, ax=[axes[number] for number in range(count)], label="level (dB)")
    _draw_removals(axes["removals"], explanation)
    _draw_links(axes["links"], explanation)
    return figure


def _draw_removals(ax: Axes, explanation: Explanation) -> None:
    rows = range(len(explanation.removals))
    ax.axvline(explanation.score, color="black", linewidth=1, label="as it is")
    for row, removal in enumerate(explanation.removals):
        label = "random patches removed" if row == 0 else None
        ax.plot(removal.random, [row] * len(removal.random), "|", color=PLUS, markersize=11, label=label)
    without = [removal.score for removal in explanation.removals]
    ax.plot(without, rows, "o", color=MINUS, label="gathered ones removed")
    ax.set_yticks(rows, [f"{removal.name} ({removal.patches})" for removal in explanation.removals])
    ax.set(xlim=(-0.02, 1.02), ylim=(len(rows) - 0.4, -0.6), xlabel=f"score of {explanation.label}")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=3, frameon=False)


def _draw_links(ax: Axes, explanation: Explanation) -> None:
    links = strongest(explanation.links)
    names, values = [name for name, _ in links], [value for _, value in links]
    ax.barh(range(len(links)), values, color=[PLUS if value > 0 else MINUS for value in values], height=0.6)
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(range(len(links)), names)
    ax.set(ylim=(len(links) - 0.4, -0.6), xlabel="added by other labels (logit)")


def strongest(links: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """The five links that raised a score most, and the three that lowered it most."""
    return links[:5] + links[5:][-3:]


def _levels(explanation: Explanation) -> tuple[np.ndarray, float, float]:
    """The log-mel in dB, as low as can be where it is padding, and the range that is drawn."""
    log_mel = DB * explanation.log_mel.numpy()
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
