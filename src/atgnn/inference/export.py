"""`atgnn export`: a tagger as one graph, for ONNX Runtime or torch.export, without this package."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import warnings
from pathlib import Path
from typing import Any, Literal, cast
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atgnn.checkpoint import load_model
from atgnn.errors import InputError
from atgnn.inference.embed import patch_frames
from atgnn.module import ATGNN
from atgnn.nn import graph
from atgnn.nn.label import LabelLabelBlock

Input = Literal["waveform", "log_mel"]


class Exported(nn.Module):
    """Scores of waveforms (B, T), or of log-mels (B, 1, F, L) that are not yet normalised: (B, S) in 0 … 1."""

    def __init__(self, model: ATGNN, input: Input) -> None:
        super().__init__()
        self.frontend = model.tagger.frontend
        self.network = model.network.fuse()
        self.waveform = input == "waveform"
        self.requires_grad_(False)
        for block in self.network.modules():
            if isinstance(block, LabelLabelBlock):
                whole = block(torch.eye(len(block.weight)))  # the map is linear: its bound is a constant by now
                block.weight, block.bounded = nn.Parameter(whole.detach() - torch.eye(len(whole))), False
        cast(Any, self.network).position = ResizedPosition(cast(Tensor, self.network.position.weight))

    def forward(self, sound: Tensor) -> Tensor:
        """Tag a batch."""
        log_mel = self.frontend(sound) if self.waveform else sound
        return self.network(self.frontend.normalize(log_mel)).logits.sigmoid()


class ResizedPosition(nn.Module):
    """The position embedding resized at every length: at the learned one that leaves it as it is."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Add the embedding."""
        return x + F.interpolate(cast(Tensor, self.weight), size=x.shape[-2:], mode="bicubic", align_corners=False)


def export(
    out: Path,
    *,
    checkpoint: Path | None = None,
    input: Input = "waveform",
) -> str:
    """Write a tagger as one graph: from a batch of sounds of any length above a minimum to scores.

    By the ending of OUT: .onnx for ONNX Runtime and others, .pt2 for torch.export. Labels, sample rate and the shortest
    sound are in the metadata. The k-nearest-neighbour search is the plain one, whose memory grows with the square of
    the length: give it windows of the length that the model was trained on. Where a target has no Fourier transform,
    export from log-mels.

    Args:
        out: file to write, .onnx or .pt2.
        checkpoint: the model, as written by `atgnn fit`; the small bundled one where none is given.
        input: what the graph takes: waveform (B, T) in ±1, or log_mel (B, 1, F, L), not yet normalised.

    Raises:
        InputError: if the ending is another, or ONNX is not installed.
    """
    if out.suffix not in (".onnx", ".pt2"):
        raise InputError(f"expected OUT to end with .onnx or .pt2, got {out}; the ending names the format")
    model = load_model(checkpoint)
    exported = Exported(model, input).eval()
    frontend = model.tagger.frontend
    shortest = shortest_frames(model)
    # Longer than both: a guard at the trained length, or neighbours that are too few, would become a constant.
    longer = 5 * max(frontend.num_frames(round(model.clip_seconds * frontend.sample_rate)), shortest) // 4
    example = 0.1 * torch.randn(2, longer * frontend.hop_length)  # a batch of one would be taken for a constant, too
    example = example if input == "waveform" else frontend(example)
    length = example.dim() - 1
    dynamic = ({0: torch.export.Dim.DYNAMIC, length: torch.export.Dim.DYNAMIC},)
    out.parent.mkdir(parents=True, exist_ok=True)
    whole = mock.patch.object(graph, "_dense_search", search_whole)
    in_32_bits = mock.patch.object(torch, "autocast", return_value=contextlib.nullcontext())
    with warnings.catch_warnings(), whole, in_32_bits, torch.no_grad():
        warnings.simplefilter("ignore")
        for name in ("torch.onnx", "onnxscript"):
            logging.getLogger(name).setLevel(logging.ERROR)
        program = torch.export.export(exported, (example,), dynamic_shapes=dynamic)
        if input == "waveform":
            shortest = max((shortest - 1) * frontend.hop_length + 1, frontend.win_length)
        about = {
            "labels": json.dumps(model.labels, ensure_ascii=False),
            "sample_rate": str(frontend.sample_rate),
            "input": input,
            "shortest": str(shortest),
            "trained_seconds": str(model.clip_seconds),
        }
        if out.suffix == ".pt2":
            torch.export.save(program, out, extra_files=about)
        else:
            _save_onnx(program, example, out, about)
    unit = "samples" if input == "waveform" else "frames"
    return f"wrote {out}: {input} {_shape(example)} → scores (batch, {len(model.labels)}), at least {shortest} {unit}"


def shortest_frames(model: ATGNN) -> int:
    """Frames L from which on every patch and label has all its dilated neighbours, so that k is a constant."""
    bins, cell = model.tagger.frontend.mel.size(1), patch_frames(model)
    needs = []  # sources, side of their cells
    for t, blocks in enumerate(model.network.stages):
        for block in cast(Any, blocks):
            graph = block.graph
            needs.append((getattr(graph, "k", 1) * getattr(graph, "dilation", 1), cell * 2**t * block.reduction))
        for stage in [*model.network.label_stages][t : t + 1]:
            needs += [(block.k, cell * 2**t) for block in cast(Any, stage).gather]
    return max((math.ceil(sources / math.ceil(bins / side)) - 1) * side + 1 for sources, side in needs)


def search_whole(x: Tensor, y: Tensor, k: int, num_clips: int, chunk_bytes: int, bias: Tensor | None = None) -> Tensor:
    """The dense k-NN search in one piece: chunks and groups depend on the length, which a graph leaves open."""
    x, y = x.unflatten(0, (num_clips, -1)), y.unflatten(0, (num_clips, -1))
    constant = y.square().sum(-1).unsqueeze(1)
    distance = (constant if bias is None else constant + bias) - 2 * x @ y.transpose(1, 2)
    offset = torch.arange(num_clips, device=x.device).view(-1, 1, 1) * y.size(1)
    return (distance.topk(k, dim=-1, largest=False).indices + offset).flatten(0, 1)


def _save_onnx(program: torch.export.ExportedProgram, example: Tensor, out: Path, about: dict[str, str]) -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError("expected onnx and onnxscript, got none installed; pip install 'atgnn[export]'") from error
    names = {"input_names": [about["input"]], "output_names": ["scores"]}
    done = torch.onnx.export(program, (example,), dynamo=True, verbose=False, **names)  # type: ignore[arg-type]
    assert done is not None
    done.model.metadata_props.update(about)
    done.save(out)


def _shape(example: Tensor) -> str:
    return "(batch, samples)" if example.dim() == 2 else f"(batch, 1, {example.size(2)}, frames)"
