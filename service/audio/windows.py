"""Windows: a recording cut into pieces that a CLAP hears at once."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

# What never rises above so many steps of its samples is dither, or a converter's last bit. Dither between -2 and 2
# steps, wider than any in use, reaches 3.7 of them once it is resampled.
STEPS_OF_SILENCE = 4
# Lossy formats state no step, and finer ones are seldom better than their source: both count as 16 bits, -78 dBFS.
SILENT_PEAK = STEPS_OF_SILENCE * 2.0**-15


@dataclass(frozen=True)
class Window:
    """A piece of a recording, where it lies, and the time it speaks for.

    Attributes:
        samples: mono float32 [samples]; a view of the recording's, not a copy.
        heard_from: where they begin, in seconds.
        heard_to: where they end.
        start: in seconds; windows that overlap meet halfway between their middles.
        end: in seconds: the start of the next window, or of the last one the recording's duration.
        silent_peak: the recording's, see `service.audio.decoding.Recording`.
    """

    samples: FloatArray
    heard_from: float
    heard_to: float
    start: float
    end: float
    silent_peak: float = SILENT_PEAK

    @property
    def silent(self) -> bool:
        """Whether there is nothing to hear in it."""
        return peak_of(self.samples) < self.silent_peak


def peak_of(samples: FloatArray) -> float:
    """The largest magnitude, found without another array of magnitudes; NaN if one is."""
    return max(float(samples.max(initial=0.0)), -float(samples.min(initial=0.0)))


def cut(
    samples: FloatArray, duration: float, longest: int, hearings: int = 1, silent_peak: float = SILENT_PEAK
) -> list[Window]:
    """Cut into the fewest equal windows that together cover everything, with others between each two of them.

    Equal windows, since a sliver left over at the end would weigh as much as a whole window.

    Args:
        samples: of the whole recording.
        duration: in seconds.
        longest: samples of a window.
        hearings: windows that hear a moment, but near both ends. `cut(...)[::hearings]` are those without overlap.
        silent_peak: below which a window is silent.
    """
    count = max(1, math.ceil(len(samples) / longest))
    size, longer = divmod(len(samples), count)
    edges = [at * size + min(at, longer) for at in range(count + 1)]
    bounds = [
        (first + (middle - first) * step // hearings, middle + (last - middle) * step // hearings)
        for first, middle, last in zip(edges, edges[1:], edges[2:], strict=False)
        for step in range(hearings)
    ]
    bounds.append((edges[-2], edges[-1]))
    heard = [(start / len(samples) * duration, end / len(samples) * duration) for start, end in bounds]
    meetings = [(sum(one) + sum(other)) / 4 for one, other in pairwise(heard)]
    times = pairwise([0.0, *meetings, duration])
    return [
        Window(samples[start:end], *lies, *spoken, silent_peak)
        for (start, end), lies, spoken in zip(bounds, heard, times, strict=True)
    ]
