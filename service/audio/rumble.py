"""Rumble: removes what lies below hearing from a recording, an offset (DC) and slow movement.

Wind in a microphone, a turntable or a cheap converter adds it. Nobody hears it, but it raises the peak, which decides
about silence and scales the windows, and it fills the lowest bands of a CLAP.
"""

import numpy as np
from numpy.typing import NDArray

from models.vectors import FloatArray

CUT_HERTZ = 12.5
# Length of the filter; half of it lies before a moment and half after.
_SECONDS = 0.25
# Length over which the slope of an end is measured: two periods of mains hum, and a small part of rumble's.
_END_SECONDS = 0.04
# Rumble is estimated from the means of this many blocks a second, and interpolated linearly between their borders.
_BLOCKS_A_SECOND = 500
_BLOCKS_AT_ONCE = 1024


def remove_rumble(samples: FloatArray, sample_rate: int) -> None:
    """Remove what lies below hearing from a whole recording, in place.

    Share of a sine's amplitude that remains: at 0 Hz nothing, up to 5 Hz less than 0.01, at 8 Hz 0.06, at 10 Hz
    0.2, at 12.5 Hz a half, at 15 Hz 0.8, from 20 Hz on 0.99 to 1.01. The phase is unchanged. Both ends are
    extended by their reflection about their own slope, so that a constant or a steady drift is removed entirely, and a
    recording may be shorter than the filter. A reflection does not continue a sine: in the first and last eighth of a
    second up to 0.2 of a rumble of 5 Hz remains, and a tone moves by up to 0.3 of its amplitude at 40 Hz and 0.02 at
    440 Hz.

    The mean of a block does not suppress tones near the block rate: a tone at 500 + f Hz, f below the cut, adds f / 500
    of itself at f Hz.

    Args:
        samples: mono [samples], at least one. If some are not finite, some of the result are not finite.
        sample_rate: in Hz.
    """
    size = min(len(samples), max(1, round(sample_rate / _BLOCKS_A_SECOND)))
    whole, rest = divmod(len(samples), size)
    blocks = samples[: whole * size].reshape(whole, size)
    with np.errstate(over="ignore", invalid="ignore"):
        borders = _at_borders(blocks.mean(axis=1, dtype=np.float64), sample_rate / size).astype(np.float32)
        rises = np.diff(borders)
        within = (np.arange(size, dtype=np.float32) + 0.5) / size
        for first in range(0, whole, _BLOCKS_AT_ONCE):
            some = slice(first, min(first + _BLOCKS_AT_ONCE, whole))
            blocks[some] -= borders[some, None] + rises[some, None] * within
        if rest:
            # The rest is too short for a meaningful mean, so the last line is extended over it.
            samples[-rest:] -= borders[-1] + rises[-1] * within[:rest]


def _at_borders(means: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    """Means [n] of blocks -> the part below the cut at their borders [n + 1], by a sinc under a Hamming window."""
    half = max(1, round(_SECONDS * rate / 2))
    seconds = (np.arange(2 * half) - half + 0.5) / rate
    kernel = np.sinc(2 * CUT_HERTZ * seconds) * np.hamming(2 * half)
    beyond = np.pad(means, half, mode="symmetric")
    if len(means) >= half:
        apart, end = 2.0 * np.arange(half) + 1, max(2, round(_END_SECONDS * rate))
        beyond[:half] -= _slope(means[:end]) * apart[::-1]
        beyond[-half:] += _slope(means[-end:]) * apart
    return np.convolve(beyond, kernel / kernel.sum(), mode="valid")


def _slope(values: NDArray[np.float64]) -> float:
    """Return the rise from one value to the next on the least-squares line."""
    at = np.arange(len(values)) - (len(values) - 1) / 2
    return float((values - values[0]) @ at / (at @ at))
