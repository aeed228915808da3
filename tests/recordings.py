"""Recordings made on the spot, and damaged in the ways of real ones."""

import io

import numpy as np
import soundfile
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def tone(seconds: float = 1.0, rate: int = 16_000, hertz: float = 440.0, channels: int = 1) -> Samples:
    """A sine of half the full scale: [samples] or [samples, channels]."""
    time = np.arange(round(seconds * rate)) / rate
    mono = (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)
    return mono if channels == 1 else np.repeat(mono[:, None], channels, axis=1)


def tones(seconds: float, *hertz: float) -> Samples:
    """Sines one behind the other, each of so many seconds, at 16 kHz."""
    return np.concatenate([tone(seconds, hertz=one) for one in hertz])


def encode(samples: Samples, rate: int = 16_000, kind: str = "WAV", subtype: str | None = None) -> bytes:
    """The samples as a file of libsndfile's format `kind`."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def wav(seconds: float = 1.0, hertz: float = 440.0) -> bytes:
    """A 16-bit mono WAV at 16 kHz."""
    return encode(tone(seconds, hertz=hertz))
