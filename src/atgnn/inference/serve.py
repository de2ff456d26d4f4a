"""`atgnn serve`: a local web page that tags a recording and explains it."""

from __future__ import annotations

import html
import os
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from atgnn.audio.files import read_blocks
from atgnn.checkpoint import load_model
from atgnn.errors import InputError
from atgnn.inference.explain import explain_sound
from atgnn.inference.explain_page import explanation_page
from atgnn.inference.picture import tags_figure
from atgnn.module import ATGNN

MOST_PROBABLE = "(the most probable)"


def serve(
    *,
    checkpoint: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 7860,
    max_seconds: float = 120.0,
    max_megabytes: int = 20,
) -> None:
    """Open a local web page: drop or record a sound, see its tags over time and why the model hears one.

    The page is for this computer alone unless --host says otherwise. Ctrl-C ends it.

    Args:
        checkpoint: the model, as written by `atgnn fit`; the small bundled one where none is given.
        host: address to listen at; 0.0.0.0 lets others in.
        port: port to listen at.
        max_seconds: longer sounds are refused.
        max_megabytes: larger uploads are refused.
    """
    page, look = build_page(load_model(checkpoint), max_seconds)
    limits = {"max_file_size": f"{max_megabytes}mb", "max_threads": 4}
    try:
        page.queue(max_size=8).launch(server_name=host, server_port=port, share=False, **limits, **look)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"expected a free --host and --port, got {host} and {port} ({error}); choose another"
        ) from error


def build_page(model: ATGNN, max_seconds: float) -> tuple[Any, dict[str, Any]]:
    """The page, and what it looks like; it asks nothing of other servers.

    Gradio keeps an upload under a name of its own among its temporary files, for ten minutes, and takes no other path
    from a client.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio as gr
    except ImportError as error:
        raise InputError("expected gradio for the page, got none installed; pip install 'atgnn[serve]'") from error

    def answer(path: str | None, label: str) -> tuple[dict[str, float], Figure, str]:
        try:
            return listen(model, path, None if label == MOST_PROBABLE else label, max_seconds)
        except InputError as error:
            raise gr.Error(str(error)) from error

    with gr.Blocks(title="atgnn", analytics_enabled=False, delete_cache=(600, 600)) as page:
        known = "; ".join(model.labels[:20]) + (f"; … {len(model.labels)} in all" if len(model.labels) > 20 else "")
        gr.Markdown(f"# Which sounds are in a recording?\nUp to {max_seconds:g} s. Known: {known}.")
        with gr.Row():
            sound = gr.Audio(sources=["upload", "microphone"], type="filepath", label="Recording", buttons=[])
            with gr.Column():
                label = gr.Dropdown([MOST_PROBABLE, *model.labels], value=MOST_PROBABLE, label="Explain")
                button = gr.Button("Listen", variant="primary", elem_id="listen")
                tags = gr.Label(num_top_classes=5, label="Tags")
        over_time, why = gr.Plot(label="Over time"), gr.HTML(label="Why")
        button.click(answer, [sound, label], [tags, over_time, why], concurrency_limit=1)
    look = {"theme": gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"]), "footer_links": []}
    return page, look


def listen(
    model: ATGNN, path: str | None, label: str | None, max_seconds: float
) -> tuple[dict[str, float], Figure, str]:
    """Scores, a picture over time and the page of an explanation, in a frame of its own.

    Raises:
        InputError: if there is no recording, or it is too long or cannot be read.
    """
    if path is None:
        raise InputError("expected a recording, got none; drop or record one")
    rate, blocks, seconds = model.tagger.frontend.sample_rate, [], 0.0
    for block in read_blocks(path, rate, name="the recording"):
        blocks.append(block)
        seconds += len(block) / rate
        if seconds > max_seconds:
            raise InputError(f"expected at most {max_seconds:g} s of sound, got more; cut it, or use `atgnn tag`")
    waveform = torch.cat(blocks)
    explanation = explain_sound(model, waveform, label, sample_rate=rate)
    page = html.escape(explanation_page(model, explanation), quote=True)
    frame = f'<iframe sandbox="allow-scripts" style="width:100%;height:1150px;border:0" srcdoc="{page}"></iframe>'
    scores = {tag.label: tag.score for tag in model.tag(waveform, rate)}
    return scores, tags_figure(model, waveform, "recording"), frame
