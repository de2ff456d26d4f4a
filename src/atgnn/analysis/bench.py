"""`atgnn bench`: what an ATGNN costs, beside the textbook way to run it, a Transformer and a CNN."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor, nn

from atgnn.analysis.bench_report import GOALS, draw, tables, titled
from atgnn.analysis.measure import Call, exponent, multiply_adds, parts, peak_memory, ratio, times, waveforms
from atgnn.audio.frontend import LogMel
from atgnn.baselines.ast import ASTNetwork
from atgnn.baselines.cnn import CNNNetwork
from atgnn.baselines.naive import NaiveNetwork
from atgnn.errors import InputError
from atgnn.network import ATGNNNetwork
from atgnn.nn.graph import knn
from atgnn.pages import replace_between
from atgnn.provenance import provenance

FRAMES, MELS, SAMPLES = 1024, 128, 163840  # 10.24 s at 16 kHz


def bench(
    *,
    variant: str = "pyramid-s",
    classes: int = 200,
    rounds: int = 9,
    threads: int = 0,
    compiled: bool = False,
    long: float = 600.0,
    json_file: Path | None = None,
    measured: Path | None = None,
    page: Path | None = None,
    readme: Path | None = None,
    plot: Path | None = None,
    fast: bool = False,
) -> None:
    """Measure speed, memory and computation of a network on clips of 10.24 s, on the GPU where there is one.

    Everything that is compared runs in one process and takes turns; ratios are medians over rounds, with quartiles.
    "naive" is the same network in the textbook way (:mod:`atgnn.baselines.naive`). The network of ATGNN is fused
    (:meth:`~atgnn.network.ATGNNNetwork.fuse`) where it says inference.

    Args:
        variant: size of the network; one of the pyramids.
        classes: S.
        rounds: how often each is timed.
        threads: of the CPU; as many as PyTorch takes by default where 0.
        compiled: also time the network under torch.compile, which takes minutes.
        long: longest clip whose cost is measured, in seconds.
        json_file: write the figures there.
        measured: figures of an earlier bench; nothing is measured again.
        page: Markdown page to write tables into, between the lines <!-- bench --> and <!-- /bench -->.
        readme: page for the first table alone.
        plot: picture to draw.
        fast: only see that everything runs: the smallest size, one round, short clips.

    Raises:
        InputError: if the variant is no pyramid, or ``measured`` is no file of figures.
    """
    if measured is not None:
        figures = _read(measured)
    else:
        figures = (
            measure("pyramid-nano", classes, 1, threads, compiled, 4.0, fast=True)
            if fast
            else measure(variant, classes, rounds, threads, compiled, long)
        )
    shown = tables(figures)
    for table in shown:
        Console().print(table)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(figures, indent=1) + "\n")
    for place, own in ((page, shown), (readme, shown[:1])):
        if place is not None:
            replace_between(place, "bench", "\n\n".join(map(titled, own)))
    if plot is not None:
        draw(figures, plot)


def measure(
    variant: str, classes: int, rounds: int, threads: int, compiled: bool, long: float, *, fast: bool = False
) -> dict[str, Any]:
    """All figures of :func:`bench`, in plain values."""
    if not variant.startswith("pyramid"):
        raise InputError(f"expected a pyramid to measure, got {variant!r}; isotropic sizes have no label graph")
    if threads:
        torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found: dict[str, np.ndarray] = {}
    networks = []
    with Console(stderr=True).status("networks") as status:
        models = compared(variant, classes, device, compiled)
        for clips in (1,) if fast else (1, 4):
            status.update(f"inference, {clips} at a time")
            taken = inference(models, clips, rounds, device)
            found |= {f"{name}, {clips}": seconds for name, seconds in taken.items()}
            networks += [{"name": name, "clips": clips} | _spread(seconds) for name, seconds in taken.items()]
        status.update("training steps")
        found |= training(variant, classes, rounds, device)
        memory = {name: peak_memory(training_step, name, variant, classes, device) for name in ("naive", "atgnn")}
        status.update("front end and parts")
        found |= front_ends(rounds, device)
        tagger = nn.Sequential(LogMel(), _Normalized(models["atgnn"][0])).to(device).eval()
        waveform = waveforms(1, SAMPLES, device)
        with torch.inference_mode():
            spent = parts(lambda: tagger(waveform), rounds)
        status.update("growth with length")
        grown = growth(models["atgnn"][0], device, long, fast)
        return {
            "about": provenance() | {"variant": variant, "classes": classes, "rounds": rounds},
            "ratios": _ratios(found, memory),
            "networks": networks,
            "memory": memory,
            "parts": spent,
            "computation": computation(variant, classes),
            "growth": grown,
        }


def _read(path: Path) -> dict[str, Any]:
    try:
        figures: dict[str, Any] = json.loads(path.read_text())
        figures["ratios"], figures["growth"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"expected figures that `atgnn bench --json-file` wrote in {path}, got {error!r}") from None
    return figures


def compared(variant: str, classes: int, device: str, compiled: bool) -> dict[str, tuple[nn.Module, bool]]:
    """The networks that are timed, by name, and whether in bf16 autocast."""
    torch.manual_seed(0)
    network, naive = _network("atgnn", variant, classes), _network("naive", variant, classes)
    fused = network.fuse()
    models = {
        "naive": (naive, False),
        "naive bf16": (naive, True),
        "atgnn": (fused, False),
        "atgnn bf16": (network.fuse(torch.bfloat16), False),
        "atgnn, not fused": (network, False),
        "AST-base": (ASTNetwork(classes), False),
        "EfficientNet-B2": (CNNNetwork(classes), False),
    }
    if compiled:
        models["atgnn, compiled"] = (torch.compile(network), False)
    for model, _ in models.values():
        model.to(device).eval()
    return models


def inference(models: dict[str, tuple[nn.Module, bool]], clips: int, rounds: int, device: str) -> dict[str, np.ndarray]:
    """Seconds of a pass over log-mels, (R,) for each network."""
    log_mel = torch.randn(clips, 1, MELS, FRAMES, device=device)
    with torch.inference_mode():
        calls = {name: partial(_tag, model, log_mel, bf16) for name, (model, bf16) in models.items()}
        return times(calls, rounds, torch.get_num_threads())


def _tag(model: nn.Module, log_mel: Tensor, bf16: bool) -> Tensor:
    with torch.autocast(log_mel.device.type, torch.bfloat16, enabled=bf16):
        logits: Tensor = model(log_mel).logits
        return logits


def training(variant: str, classes: int, rounds: int, device: str) -> dict[str, np.ndarray]:
    """Seconds of a training step of four clips, forward and backward, (R,) for each network."""
    steps = {f"{name}, step": training_step(name, variant, classes, device) for name in ("naive", "atgnn")}
    return times(steps, rounds, torch.get_num_threads())


def training_step(name: str, variant: str, classes: int, device: str) -> Call:
    """A step of four clips, ready to be taken; stochastic depth is off, because it would save work at random."""
    torch.manual_seed(0)
    network = _network(name, variant, classes).to(device).train()
    log_mel, targets = torch.randn(4, 1, MELS, FRAMES, device=device), torch.rand(4, classes, device=device).round()

    def step() -> None:
        network.zero_grad(set_to_none=True)
        F.binary_cross_entropy_with_logits(network(log_mel).logits, targets).backward()

    return step


def _network(name: str, variant: str, classes: int) -> Any:
    naive = name == "naive"
    network = ATGNNNetwork(classes, variant, drop_path=0.0, tables=naive, bounded=not naive)
    return NaiveNetwork(network) if naive else network


def front_ends(rounds: int, device: str) -> dict[str, np.ndarray]:
    """Seconds for 16 clips, by ours in one batch and by torchaudio's kaldi.fbank one at a time."""
    from torchaudio.compliance.kaldi import fbank

    frontend, waveform = LogMel().to(device), waveforms(16, SAMPLES, device)
    reference: Callable[..., Tensor] = partial(
        fbank, htk_compat=True, sample_frequency=16000, window_type="hanning", num_mel_bins=MELS, dither=0.0
    )
    calls = {"ours": lambda: frontend(waveform), "kaldi": lambda: [reference(clip[None]) for clip in waveform]}
    with torch.inference_mode():
        return times(calls, rounds, torch.get_num_threads())


class _Normalized(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, log_mel: Tensor) -> Tensor:
        logits: Tensor = self.network((log_mel + 4.6476) / 4.5699).logits
        return logits


def computation(variant: str, classes: int) -> dict[str, dict[str, int]]:
    """Parameters that learn, and multiply-adds for one clip."""
    networks = {
        "atgnn": ATGNNNetwork(classes, variant),
        "atgnn without labels": ATGNNNetwork(classes, variant, plg=False, llg=False),
        "AST-base": ASTNetwork(classes),
        "EfficientNet-B2": CNNNetwork(classes),
    }
    log_mel = torch.randn(1, 1, MELS, FRAMES)
    return {
        name: {
            "parameters": sum(p.numel() for p in network.parameters() if p.requires_grad),
            "multiply_adds": multiply_adds(network, log_mel),
        }
        for name, network in networks.items()
    }


def growth(network: nn.Module, device: str, long: float, fast: bool) -> dict[str, dict[str, Any]]:
    """How time grows with length of clip (the network), and with K, N and C (the search), and the fitted exponent."""
    lengths = [1.0, 2.0, 4.0, 10.24, 30.0, 60.0, 150.0, 300.0, 600.0]
    lengths = [seconds for seconds in lengths if seconds <= long]
    calls: dict[str, dict[float, Call]] = {"length of clip (s)": {}, "K": {}, "N": {}, "C": {}}
    for seconds in lengths:
        log_mel = torch.randn(1, 1, MELS, round(100 * seconds), device=device)
        calls["length of clip (s)"][seconds] = partial(_tag, network, log_mel, False)
    base = {"N": 512 if fast else 8192, "C": 80, "K": 9}
    for name, sizes in {"K": (3, 9, 18, 36, 72), "N": (512, 2048, 8192, 32768), "C": (16, 64, 256, 1024)}.items():
        for size in sizes[:3] if fast else sizes:
            one = base | {name: size}
            x = F.normalize(torch.randn(one["N"], one["C"], device=device), dim=1)
            calls[name][size] = partial(knn, x, x[:512], one["K"])
    grown: dict[str, dict[str, Any]] = {}
    with torch.inference_mode():
        for name, own in calls.items():
            taken = [_median(call, size > 60 and name.startswith("length")) for size, call in own.items()]
            grown[name] = {"sizes": [*own], "seconds": taken, "exponent": exponent([*own], taken)}
    return grown


def _median(call: Call, once: bool) -> float:
    rounds, warm = (1, False) if once else (3, True)
    return float(np.median(times({"": call}, rounds, torch.get_num_threads(), warm)[""]))


def _ratios(found: dict[str, np.ndarray], memory: dict[str, dict[str, int]]) -> dict[str, dict[str, float]]:
    pairs = {
        "training step, 4 clips, against naive": ("naive, step", "atgnn, step"),
        "inference fp32, 1 clip, against AST-base": ("AST-base, 1", "atgnn, 1"),
        "front end, batch of 16, against kaldi.fbank in a loop": ("kaldi", "ours"),
    }
    for clips, text in ((1, "1 clip"), (4, "4 clips")):
        pairs[f"inference fp32, {text}, against naive"] = (f"naive, {clips}", f"atgnn, {clips}")
        pairs[f"inference bf16, {text}, against naive fp32"] = (f"naive, {clips}", f"atgnn bf16, {clips}")
    ratios = {}
    for goal in GOALS:
        if goal.startswith("memory"):
            how = "tensors" if "tensors" in goal else "process"
            value = memory["naive"][how] / memory["atgnn"][how]
            ratios[goal] = {"median": value, "low": value, "high": value}
        elif pairs[goal][0] in found:
            median, low, high = ratio(found[pairs[goal][0]], found[pairs[goal][1]])
            ratios[goal] = {"median": median, "low": low, "high": high}
    return ratios


def _spread(seconds: np.ndarray) -> dict[str, float]:
    low, middle, high = np.quantile(seconds, (0.25, 0.5, 0.75))
    return {"seconds": float(middle), "low": float(low), "high": float(high)}
