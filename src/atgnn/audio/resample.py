"""Change the sample rate of a waveform, whole or block by block with the same result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction

import torch
import torchaudio.functional as AF
from torch import Tensor

#: Zero crossings on either side of the filter, and its cut-off as a share of the lower Nyquist frequency.
FILTER_WIDTH, ROLLOFF = 64, 0.9475937167399596


def resample(waveform: Tensor, rate: int, new_rate: int) -> Tensor:
    """Resample (T,) with a Kaiser-windowed sinc filter."""
    if rate == new_rate:
        return waveform
    ratio = rate_ratio(rate, new_rate)
    resampled: Tensor = AF.resample(
        waveform,
        ratio.numerator,
        ratio.denominator,
        lowpass_filter_width=FILTER_WIDTH,
        rolloff=ROLLOFF,
        resampling_method="sinc_interp_kaiser",
        beta=14.769656459379492,
    )
    return resampled


def resample_blocks(blocks: Iterable[Tensor], rate: int, new_rate: int) -> Iterator[Tensor]:
    """Resample consecutive blocks (T,), each together with as much of its neighbours as the filter reaches.

    Joined, the results are :func:`resample` of the joined blocks, to rounding.
    """
    if rate == new_rate:
        yield from blocks
        return
    ratio = rate_ratio(rate, new_rate)
    old, new = ratio.numerator, ratio.denominator
    # Cuts lie at multiples of ``old`` samples, where the filter's phase begins anew.
    margin = (math.ceil(FILTER_WIDTH * old / (min(old, new) * ROLLOFF)) // old + 2) * old
    held, done = torch.empty(0), 0  # ``done`` of the held samples are only context
    for block in blocks:
        held = torch.cat((held, block))
        ready = (len(held) - margin) // old * old
        if ready > done:
            yield resample(held, rate, new_rate)[done // old * new : ready // old * new]
            start = max(0, ready - margin)
            held, done = held[start:], ready - start
    if len(held) > done:
        yield resample(held, rate, new_rate)[done // old * new :]


def rate_ratio(rate: int, new_rate: int) -> Fraction:
    """The ratio of two rates as the filter bank takes it, which has numerator × denominator taps.

    For rates without a common factor a ratio within a few millionths, far below a hundredth of a semitone, takes a
    thousandth of the memory.
    """
    ratio = Fraction(rate, new_rate)
    if ratio.numerator * ratio.denominator <= 2_000_000:
        return ratio
    return ratio.limit_denominator(200) if ratio > 1 else 1 / (1 / ratio).limit_denominator(200)
