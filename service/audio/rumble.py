"""Rumble: what lies below hearing in a recording, and a constant offset, removed."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

LENGTH_SECONDS = 1 / 30


def without_rumble(blocks: Iterable[FloatArray], sample_rate: int) -> Iterator[FloatArray]:
    """Take the moving average of the moving average off a recording.

    What is left of a frequency f in Hz is 1 - (sin(pi f T) / (pi f T))^2 with T = 1/30 s, without a shift in time:
    nothing of a constant, 0.09 at 5 Hz, 0.83 at 20 Hz, and within 5% of all from 27 Hz on. A microphone without a
    high-pass leaves an offset, wind and steps a rumble; nobody hears them, and they would set the level. It comes
    before resampling, which would turn an offset into a click at either end.

    Args:
        blocks: of a mono recording in order, each [samples].
        sample_rate: in Hz.

    Returns:
        Blocks of as many samples in all.
    """
    half = max(1, round(LENGTH_SECONDS * sample_rate) // 2)
    # What both averages need on either side. Beyond its ends the recording is continued by its mirror image.
    margin = 2 * half
    held = np.zeros(0, np.float32)
    begun = False
    for block in blocks:
        held = np.concatenate([held, block])
        if not begun and len(held) > margin:
            held, begun = _continued(held, (margin, 0)), True
        if begun and len(held) > 2 * margin:
            yield _high(held, half)
            held = held[-2 * margin :]
    if len(held):
        yield _high(_continued(held, (0 if begun else margin, margin)), half)


def _continued(samples: FloatArray, lengths: tuple[int, int]) -> FloatArray:
    """With so many mirrored samples before and after."""
    return np.asarray(np.pad(samples, lengths, mode="symmetric"), dtype=np.float32)


def _high(samples: FloatArray, half: int) -> FloatArray:
    """[samples] -> [samples - 4 half], less the average of averages of 2 half + 1."""
    wide = samples.astype(np.float64)
    low = _moving_average(_moving_average(wide, half), half)
    return np.asarray(wide[2 * half : len(wide) - 2 * half] - low, dtype=np.float32)


def _moving_average(samples: NDArray[np.float64], half: int) -> NDArray[np.float64]:
    sums = np.cumsum(np.concatenate([[0.0], samples]))
    width = 2 * half + 1
    return np.asarray((sums[width:] - sums[:-width]) / width)
