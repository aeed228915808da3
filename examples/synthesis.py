"""The building blocks of the sample recordings: shaped noise, decaying modes, grains and a room."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]

RATE = 44_100
"""Samples per second of every sample recording."""


Partial = tuple[float, float, float]
"""One decaying partial of a struck body: frequency in Hz, relative amplitude, decay to 1/e in seconds."""


@dataclass
class Tape:
    """A recording of fixed length to add sounds to.

    Attributes:
        seconds: its length.
        rng: makes every random choice, so that a seed gives the same recording again.
        signal: float64 [samples] at `RATE`.
    """

    seconds: float
    rng: np.random.Generator
    signal: Signal = field(init=False)

    def __post_init__(self) -> None:
        self.signal = np.zeros(round(self.seconds * RATE))

    def lay(self, sound: Signal, at: float, gain: float = 1.0) -> None:
        """Add a sound that begins at `at` seconds; it is cut at the end of the tape."""
        start = round(at * RATE)
        end = min(start + len(sound), len(self.signal))
        if 0 <= start < end:
            self.signal[start:end] += gain * sound[: end - start]

    def finished(self, peak: float, floor: float = 0.0006) -> Signal:
        """Return the recording scaled to `peak` in 0..1, with a faint noise floor and ends faded over 20 ms."""
        signal = self.signal / max(float(np.abs(self.signal).max()), 1e-9) * peak
        signal = signal + floor * band_noise(self.rng, len(signal), 80, 9_000)
        ramp = np.linspace(0, 1, round(0.02 * RATE))
        signal[: len(ramp)] *= ramp
        signal[-len(ramp) :] *= ramp[::-1]
        return signal


def shaped_noise(rng: np.random.Generator, samples: int, gain: Callable[[Signal], Signal]) -> Signal:
    """Return white noise with its spectrum multiplied by ``gain(hertz)`` and a standard deviation of 1."""
    spectrum = np.fft.rfft(rng.normal(size=samples)) * gain(np.fft.rfftfreq(samples, 1 / RATE))
    noise = np.fft.irfft(spectrum, n=samples)
    return np.asarray(noise / max(float(noise.std()), 1e-12))


def band_noise(rng: np.random.Generator, samples: int, low: float, high: float, tilt: float = 0.0) -> Signal:
    """Return noise between `low` and `high` Hz with soft edges; `tilt` is the exponent of the spectrum's slope."""

    def gain(hertz: Signal) -> Signal:
        safe = np.maximum(hertz, 1.0)
        edges = 1 / np.sqrt(1 + (low / safe) ** 8) / np.sqrt(1 + (safe / high) ** 8)
        return np.asarray(edges * (safe / 1_000.0) ** tilt)

    return shaped_noise(rng, samples, gain)


def slow_noise(rng: np.random.Generator, samples: int, hertz: float) -> Signal:
    """Return a smooth random curve between 0 and 1 that changes about `hertz` times a second."""
    knots = rng.uniform(0, 1, size=int(samples / RATE * hertz) + 4)
    position = np.arange(samples) / RATE * hertz
    left = position.astype(int)
    blend = (1 - np.cos(np.pi * (position - left))) / 2
    return np.asarray(knots[left] * (1 - blend) + knots[left + 1] * blend)


def struck(partials: Sequence[Partial], seconds: float, attack: float = 0.001, tune: float = 1.0) -> Signal:
    """Return a body struck once: the sum of its partials, tuned by the factor `tune`, rising over `attack` seconds."""
    time = np.arange(round(seconds * RATE)) / RATE
    sound = np.zeros(len(time))
    for hertz, amplitude, decay in partials:
        sound += amplitude * np.exp(-time / decay) * np.sin(2 * np.pi * hertz * tune * time)
    return np.asarray(sound * (1 - np.exp(-time / attack)))


def grain(rng: np.random.Generator, seconds: float, low: float, high: float) -> Signal:
    """Return a short burst of band noise that decays to a hundredth over its length."""
    samples = max(round(seconds * RATE), 16)
    return np.asarray(band_noise(rng, samples, low, high) * np.exp(-4.6 * np.arange(samples) / samples))


def swept(hertz: Signal, harmonics: Sequence[float]) -> Signal:
    """Return a tone that follows the frequencies `hertz` [samples]; `harmonics` are the amplitudes of its partials."""
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    tone = np.zeros(len(hertz))
    for number, amplitude in enumerate(harmonics, start=1):
        # A partial above the Nyquist frequency would appear as a false tone.
        audible = hertz * number < RATE / 2.2
        tone += amplitude * np.sin(number * phase) * audible
    return tone


def bump(samples: int, rise: float = 0.3) -> Signal:
    """Return a smooth curve from 0 to 1 and back to 0, with its maximum at the fraction `rise` of its length."""
    position = np.linspace(0, 1, samples)
    up = np.clip(position / rise, 0, 1)
    down = np.clip((1 - position) / (1 - rise), 0, 1)
    return np.asarray(np.sin(np.pi / 2 * np.minimum(up, down)) ** 2)


def room(rng: np.random.Generator, signal: Signal, seconds: float, wet: float) -> Signal:
    """Return the signal in a room: convolved with decaying noise of the given reverberation time (60 dB)."""
    samples = round(seconds * RATE)
    tail = band_noise(rng, samples, 150, 6_000) * np.exp(-6.9 * np.arange(samples) / samples)
    size = len(signal) + samples
    wet_signal = np.fft.irfft(np.fft.rfft(signal, size) * np.fft.rfft(tail, size), size)[: len(signal)]
    scale = float(np.abs(signal).max()) / max(float(np.abs(wet_signal).max()), 1e-9)
    return np.asarray((1 - wet) * signal + wet * scale * wet_signal)
