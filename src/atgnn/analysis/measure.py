"""How long things take beside each other, how much memory they need, how much they compute."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from atgnn.audio.frontend import LogMel
from atgnn.nn.graph import Neighbors
from atgnn.nn.label import LabelGraphStage
from atgnn.nn.patch import Downsample, KNNGraph, Stem

Call = Callable[[], object]

#: Parts of a tagger, and the calls that are spent in them; what is left are the dense layers of the blocks and head.
PARTS: dict[str, tuple[tuple[type, str], ...]] = {
    "front end": ((LogMel, "forward"),),
    "stem": ((Stem, "forward"), (Downsample, "forward")),
    "k-NN search": ((KNNGraph, "forward"),),
    "aggregation": ((Neighbors, "gather_max"), (Neighbors, "gather_min"), (Neighbors, "gather_sum")),
    "labels": ((LabelGraphStage, "forward"),),
}


def times(calls: Mapping[str, Call], rounds: int, threads: int) -> dict[str, np.ndarray]:
    """Seconds of every call in every round, after one to warm up; calls take turns, so that all see the same machine.

    Waits for the device before and after each call.

    Args:
        calls: what to time, by name.
        rounds: R.
        threads: of PyTorch on the CPU.

    Shape:
        returns: (R,) for each name.
    """
    timers = {name: Timer("call()", globals={"call": call}, num_threads=threads) for name, call in calls.items()}
    for timer in timers.values():
        timer.timeit(1)
    taken = [{name: timer.timeit(1).mean for name, timer in timers.items()} for _ in range(rounds)]
    return {name: np.array([one[name] for one in taken]) for name in calls}


def ratio(slow: np.ndarray, fast: np.ndarray) -> tuple[float, float, float]:
    """How many times as fast: median over rounds, and its quartiles."""
    low, middle, high = np.quantile(slow / fast, (0.25, 0.5, 0.75))
    return float(middle), float(low), float(high)


def parts(call: Call, rounds: int = 5) -> dict[str, float]:
    """Seconds that a call spends in each part of a tagger (medians); parts inside a part count as the outer one."""
    spent: list[dict[str, float]] = []
    with ExitStack() as stack:
        for name, functions in PARTS.items():
            for cls, function in functions:
                original = getattr(cls, function)
                stack.enter_context(mock.patch.object(cls, function, _timed(name, original, spent)))
        call()
        for _ in range(rounds):
            spent.append(dict.fromkeys(PARTS, 0.0))
            start = time.perf_counter()
            call()
            _wait()
            spent[-1]["dense layers"] = time.perf_counter() - start - sum(spent[-1].values())
    return {name: float(np.median([one[name] for one in spent])) for name in spent[0]}


def _timed(name: str, function: Callable[..., Any], spent: list[dict[str, float]]) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> Any:
        if _timed.inside or not spent:  # type: ignore[attr-defined]
            return function(*args, **options)
        with _inside():
            _wait()
            start = time.perf_counter()
            result = function(*args, **options)
            _wait()
            spent[-1][name] += time.perf_counter() - start
        return result

    return run


_timed.inside = False  # type: ignore[attr-defined]


@contextmanager
def _inside() -> Iterator[None]:
    _timed.inside = True  # type: ignore[attr-defined]
    try:
        yield
    finally:
        _timed.inside = False  # type: ignore[attr-defined]


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def multiply_adds(network: nn.Module, log_mel: tuple[int, ...]) -> int:
    """Multiplications with additions of one pass over a log-mel of this shape, search included; nothing is computed."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        network.to("meta").eval()(torch.empty(log_mel))
    return counter.get_total_flops() // 2


def peak_memory(build: Callable[..., Call], *args: Any) -> int:
    """Bytes that a call adds to what is there before it, in a process of its own; of the GPU where there is one.

    Args:
        build: makes the call; of a module, so that the process finds it.
        args: for it.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_peak, torch.get_num_threads(), build, *args).result()


def _peak(threads: int, build: Callable[..., Call], *args: Any) -> int:
    torch.set_num_threads(threads)
    call = build(*args)
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call()
    return unit * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def exponent(sizes: list[float], seconds: list[float]) -> float:
    """How cost grows with size: e in seconds ∝ sizeᵉ, fitted to the larger half of the sizes."""
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half:]), np.log(seconds[half:]), 1)[0])


def waveforms(clips: int, samples: int, device: str = "cpu") -> Tensor:
    """Noise (B, T) to measure with."""
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(0)).to(device)
