"""The pictures of the documentation, made by the code that they show: `make figures`."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from atgnn.checkpoint import load_model
from atgnn.inference.explain import Explanation, explain_sound
from atgnn.inference.explain_page import COLORS, draw_explanation
from atgnn.inference.picture import mel_ticks
from atgnn.module import ATGNN

ROOT = Path(__file__).parents[1]
CLIP = ROOT / "data" / "mini" / "clips" / "loop_tabla.flac"
IMAGES = ROOT / "docs" / "images"


def main() -> None:
    """Draw all of them."""
    model = load_model()
    explanation = explain_sound(model, CLIP, "Tabla", draws=12)
    draw_explanation(model, explanation).savefig(IMAGES / "explain.png", dpi=90)
    draw_graph(model, explanation).savefig(IMAGES / "graph.png", dpi=90)


def draw_graph(model: ATGNN, explanation: Explanation) -> Figure:
    """One patch of the first stage, and the neighbours that the search found for it."""
    frontend, stage = model.tagger.frontend, explanation.stages[0]
    hop = frontend.hop_length / frontend.sample_rate
    end, start = explanation.frames, explanation.start
    patch = next(iter(sorted(stage.gathered, key=lambda i: (-stage.gathered[i], i))))
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    ax = figure.subplots()
    ax.imshow(
        explanation.log_mel[:, :end], origin="lower", aspect="auto", cmap=COLORS, interpolation="nearest",
        extent=(start, start + hop * end, 0, len(explanation.log_mel)),
    )  # fmt: skip
    f, t, f_end, t_end = stage.patches[patch]
    here = start + hop * (t + t_end) / 2, (f + f_end) / 2
    for source in stage.neighbors[patch]:
        low, first, high, last = stage.sources[source]
        box = (start + hop * first, low), hop * (last - first), high - low
        for color, line in (("black", 2.6), ("white", 1.2)):
            ax.add_patch(Rectangle(*box, fill=False, edgecolor=color, linewidth=line))
        there = start + hop * (first + last) / 2, (low + high) / 2
        ax.plot(*zip(here, there, strict=True), color="white", linewidth=0.8)
    ax.plot(*here, "o", color="#D55E00", markeredgecolor="white", markersize=9)
    ax.set_xlim(start, start + hop * end)
    rows, names = mel_ticks(frontend.mel, frontend.sample_rate)
    ax.set_yticks(rows, names)
    ax.set(xlabel="time (s)", ylabel="Hz (mel scale)")
    ax.set_title("dot: a patch; framed: its nearest neighbours, wherever they lie", loc="left")
    return figure


if __name__ == "__main__":
    main()
