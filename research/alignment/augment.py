"""Makes waveforms from the training clips: crops and mixtures with other speed, tone, bandwidth and noise.

Knows waveforms and the clips they come from; knows nothing of features or training.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.clap.aisfx import HOP, SAMPLE_RATE
from models.vectors import FloatArray

LENGTH = 199 * HOP  # two blocks of the audio tower


@dataclass(frozen=True)
class MadeWaveform:
    """A waveform, float32 [samples], and the indices of its one or two source clips."""

    samples: FloatArray
    sources: tuple[int, ...]


def make_waveform(
    clips: list[FloatArray],
    weights: NDArray[np.float64],
    groups: list[str],
    mixtures: float,
    rng: np.random.Generator,
) -> MadeWaveform:
    """Draw one waveform.

    Args:
        clips: recordings, float32 [samples] at `SAMPLE_RATE`.
        weights: probability [n] that a clip is drawn.
        groups: the kind of sound of each clip; a mixture joins two kinds.
        mixtures: share of mixtures in 0 to 1.
        rng: makes every random choice.
    """
    first = int(rng.choice(len(clips), p=weights))
    samples = _varied(clips[first], rng)
    sources: tuple[int, ...] = (first,)
    if rng.random() < mixtures:
        second = int(rng.choice(len(clips), p=weights))
        if groups[second] != groups[first]:
            samples = mix(samples, _varied(clips[second], rng), rng.uniform(-6.0, 6.0))
            sources = (first, second)
    if rng.random() < 0.4:
        samples = mix(samples, noise(len(samples), rng.uniform(0.0, 2.0), rng), rng.uniform(12.0, 35.0))
    if rng.random() < 0.35:
        samples = low_pass(samples, float(np.exp(rng.uniform(np.log(3_500), np.log(14_000)))))
    return MadeWaveform(samples, sources)


def mix(one: FloatArray, other: FloatArray, decibels: float) -> FloatArray:
    """Mix `other` into `one`, `decibels` lower by RMS; the result is as long as the longer of the two."""
    length = max(len(one), len(other))
    level = _rms(one) / max(_rms(other), 1e-9) * 10.0 ** (-decibels / 20.0)
    out = np.zeros(length, dtype=np.float32)
    out[: len(one)] += one
    out[: len(other)] += np.float32(level) * other
    return out


def noise(length: int, slope: float, rng: np.random.Generator) -> FloatArray:
    """Return noise [length] whose power falls as frequency ** slope: 0 is white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(rng.normal(size=length))
    spectrum *= np.maximum(np.arange(len(spectrum)), 1.0) ** (-slope / 2.0)
    return np.asarray(np.fft.irfft(spectrum, n=length), dtype=np.float32)


def low_pass(samples: FloatArray, cutoff: float) -> FloatArray:
    """Remove everything above `cutoff` Hz, as a recorder of low bandwidth does."""
    spectrum = np.fft.rfft(samples)
    frequencies = np.fft.rfftfreq(len(samples), 1.0 / SAMPLE_RATE)
    spectrum *= 1.0 / (1.0 + (frequencies / cutoff) ** 24)
    return np.asarray(np.fft.irfft(spectrum, n=len(samples)), dtype=np.float32)


def _varied(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return a crop of about 1 to 4.6 s around something audible, with slightly changed speed and tone."""
    speed = float(np.exp(rng.uniform(np.log(0.85), np.log(1.18))))
    wanted = int(min(LENGTH, rng.uniform(1.0, 7.0) * SAMPLE_RATE) * speed)
    crop = _crop(samples, wanted, rng)
    positions = np.arange(int(len(crop) / speed)) * speed
    stretched = np.interp(positions, np.arange(len(crop)), crop)
    return _tilt(np.asarray(stretched[:LENGTH], dtype=np.float32), rng.uniform(-3.0, 3.0))


def _crop(samples: FloatArray, length: int, rng: np.random.Generator) -> FloatArray:
    """Return the loudest of three random crops, or a random one: a short event is seldom missed."""
    if len(samples) <= length:
        return samples
    starts = rng.integers(0, len(samples) - length + 1, size=3)
    crops = [samples[start : start + length] for start in starts]
    return max(crops, key=_rms) if rng.random() < 0.75 else crops[0]


def _tilt(samples: FloatArray, decibels_per_octave: float) -> FloatArray:
    """Make the sound brighter or duller around 1 kHz, by at most 12 dB anywhere."""
    spectrum = np.fft.rfft(samples)
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(samples), 1.0 / SAMPLE_RATE), 20.0) / 1_000.0)
    spectrum *= 10.0 ** (np.clip(octaves * decibels_per_octave, -12.0, 12.0) / 20.0)
    return np.asarray(np.fft.irfft(spectrum, n=len(samples)), dtype=np.float32)


def _rms(samples: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(samples)) + 1e-12))
