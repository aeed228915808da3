"""Windows: cuts a recording into pieces that a CLAP can hear at once."""

import math
from dataclasses import dataclass
from itertools import pairwise

from models.vectors import FloatArray

# A signal that stays below this many quantisation steps is dither, or the last bit of a converter. Dither between -2
# and 2 steps, wider than any in use, reaches 3.7 steps after resampling.
STEPS_OF_SILENCE = 4
# Lossy formats have no step, and finer formats are seldom better than their source: both count as 16 bits, -78 dBFS.
SILENT_PEAK = STEPS_OF_SILENCE * 2.0**-15


@dataclass(frozen=True)
class Window:
    """A piece of a recording, its position, and the time that its caption covers.

    Attributes:
        samples: mono float32 [samples]; a view of the recording, not a copy.
        heard_from: where the samples begin, in seconds.
        heard_to: where the samples end, in seconds.
        start: start of the covered time, in seconds; overlapping windows meet halfway between their middles.
        end: end of the covered time, in seconds: the start of the next window, or the recording's duration.
        silent_peak: of the recording, see `service.audio.decoding.Recording`.
    """

    samples: FloatArray
    heard_from: float
    heard_to: float
    start: float
    end: float
    silent_peak: float = SILENT_PEAK

    @property
    def silent(self) -> bool:
        """Whether the window holds nothing audible."""
        return peak_of(self.samples) < self.silent_peak


def peak_of(samples: FloatArray) -> float:
    """Return the largest magnitude, or NaN if a sample is NaN; allocates no array of magnitudes."""
    return max(float(samples.max(initial=0.0)), -float(samples.min(initial=0.0)))


def cut(
    samples: FloatArray, duration: float, longest: int, hearings: int = 1, silent_peak: float = SILENT_PEAK
) -> list[Window]:
    """Cut into the fewest equal windows that cover everything, with `hearings` - 1 more between each two of them.

    The windows are equal, since a short rest at the end would weigh as much as a whole window.

    Args:
        samples: of the whole recording.
        duration: in seconds.
        longest: samples of a window.
        hearings: windows that contain each moment, except near both ends. `cut(...)[::hearings]` do not overlap.
        silent_peak: peak below which a window is silent.
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
