"""How long things take beside each other, how much memory they need, how much they compute."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from timeit import Timer
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
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


def times(calls: Mapping[str, Call], rounds: int, threads: int, warm: bool = True) -> dict[str, np.ndarray]:
    """Seconds of every call in every round; calls take turns, so that all see the same machine.

    Waits for the device before and after each call.

    Args:
        calls: what to time, by name.
        rounds: R.
        threads: of PyTorch on the CPU.
        warm: one round before, that does not count.

    Shape:
        returns: (R,) for each name.
    """
    torch.set_num_threads(threads)
    timers = {
        name: Timer("call(); wait()", "wait()", globals={"call": call, "wait": _wait}) for name, call in calls.items()
    }
    for timer in timers.values() if warm else ():
        timer.timeit(1)
    taken = [{name: timer.timeit(1) for name, timer in timers.items()} for _ in range(rounds)]
    return {name: np.array([one[name] for one in taken]) for name in calls}


def ratio(slow: np.ndarray, fast: np.ndarray) -> tuple[float, float, float]:
    """How many times as fast: median over rounds, and its quartiles."""
    low, middle, high = np.quantile(slow / fast, (0.25, 0.5, 0.75))
    return float(middle), float(low), float(high)


def parts(call: Call, rounds: int = 5) -> dict[str, float]:
    """Seconds that a call spends in each part of a tagger (medians); parts inside a part count as the outer one."""
    clock, taken = _Clock(), []
    with ExitStack() as stack:
        for name, functions in PARTS.items():
            for cls, function in functions:
                timed = clock.timed(name, getattr(cls, function))
                stack.enter_context(mock.patch.object(cls, function, timed))
        call()
        for _ in range(rounds):
            clock.spent = dict.fromkeys(PARTS, 0.0)
            start = time.perf_counter()
            call()
            _wait()
            taken.append({**clock.spent, "dense layers": time.perf_counter() - start - sum(clock.spent.values())})
    return {name: float(np.median([one[name] for one in taken])) for name in taken[0]}


class _Clock:
    """Adds up the seconds of calls, by name; calls inside a call count as that one."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(PARTS, 0.0)
        self.inside = False

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            if self.inside:
                return function(*args, **options)
            self.inside = True
            _wait()
            start = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                _wait()
                self.spent[name] += time.perf_counter() - start
                self.inside = False

        return run


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def multiply_adds(network: nn.Module, log_mel: Tensor) -> int:
    """Multiplications with additions of one pass over a log-mel (B, 1, F, L), those of the search included."""
    products = {torch.ops.mkldnn._linear_pointwise: _product_flops}
    with FlopCounterMode(display=False, custom_mapping=products) as counter, torch.no_grad():
        network.eval()(log_mel)
    return int(counter.get_total_flops()) // 2


def _product_flops(x: tuple[int, int], weight: tuple[int, int], *_: Any, **__: Any) -> int:
    return 2 * x[0] * x[1] * weight[0]


def peak_memory(build: Callable[..., Call], *args: Any) -> dict[str, int]:
    """Bytes that a call adds at its peak to what is there before it, in a process of its own.

    Of ``tensors``, as PyTorch allocates them, and of the whole ``process``, with what the C library does not give back
    and what oneDNN keeps; on a GPU both are the tensors on it.

    Args:
        build: makes the call; of a module, so that the process finds it.
        args: for it.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return {how: pool.submit(_peak, how, torch.get_num_threads(), build, *args).result() for how in PEAKS}


def _peak(how: str, threads: int, build: Callable[..., Call], *args: Any) -> int:
    torch.set_num_threads(threads)
    call = build(*args)
    return PEAKS[how](call)


def _process_peak(call: Call) -> int:
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of what came before
    before = _resident("VmRSS")
    call()
    return _resident("VmHWM") - before


def _tensor_peak(call: Call) -> int:
    if torch.cuda.is_available():
        return _process_peak(call)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    assert profiler.profiler is not None
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return int(np.cumsum(changes).max(initial=0))


#: Ways to measure, in this order: the first call in a process finds its memory untouched.
PEAKS: dict[str, Callable[[Call], int]] = {"process": _process_peak, "tensors": _tensor_peak}


def _resident(which: str) -> int:
    """Bytes in memory now (VmRSS) or at the peak (VmHWM), as Linux counts them."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))
    return 1024 * int(line.split()[1])


def exponent(sizes: list[float], seconds: list[float]) -> float:
    """How cost grows with size: e in seconds ∝ sizeᵉ, fitted to the larger half of the sizes."""
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half:]), np.log(seconds[half:]), 1)[0])


def waveforms(clips: int, samples: int, device: str = "cpu") -> Tensor:
    """Noise (B, T) to measure with."""
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(0)).to(device)
