"""Synthesises everyday signals: sirens, bells, telephones, horns, beeps, steps, knocks, applause, engines.

Few training clips hold one. Machines or simple blows make such signals, so a formula can imitate them.
"""

from collections.abc import Callable

import numpy as np

from models.clap.aisfx import SAMPLE_RATE
from models.vectors import FloatArray
from research.alignment.augment import LENGTH, low_pass, mix, noise

_Synthesiser = Callable[[np.random.Generator], FloatArray]


def synthesise(per_recipe: int, rng: np.random.Generator) -> list[tuple[str, FloatArray]]:
    """Return `per_recipe` variants of each recipe as (label, samples [LENGTH]), in a room and over background noise."""
    made = []
    for label, recipe in RECIPES.items():
        for _ in range(per_recipe):
            dry = recipe(rng)[:LENGTH]
            background = noise(LENGTH, rng.uniform(0.5, 2.0), rng)
            made.append((label, mix(_room(dry, rng), background, rng.uniform(8.0, 35.0))))
    return made


def _seconds() -> FloatArray:
    return np.asarray(np.arange(LENGTH) / SAMPLE_RATE, dtype=np.float32)


def _tone(frequency: FloatArray, harmonics: list[float]) -> FloatArray:
    """Return a tone that follows `frequency` [LENGTH] in Hz; `harmonics` are the weights of its harmonics."""
    phase = 2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE
    parts = [weight * np.sin((order + 1) * phase) for order, weight in enumerate(harmonics)]
    return np.asarray(np.sum(parts, axis=0), dtype=np.float32)


def _harmonics(count: int, decay: float, rng: np.random.Generator) -> list[float]:
    return [float(decay**order * rng.uniform(0.5, 1.0)) for order in range(count)]


def _room(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Add reverberation: an exponentially decaying noise tail of 0.1 to 1.2 s."""
    seconds = rng.uniform(0.1, 1.2)
    tail = rng.normal(size=int(seconds * SAMPLE_RATE)) * np.exp(
        -6.9 * np.linspace(0.0, 1.0, int(seconds * SAMPLE_RATE))
    )
    size = len(samples) + len(tail)
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)[: len(samples)]
    return mix(samples, np.asarray(wet, dtype=np.float32), rng.uniform(2.0, 20.0))


def _siren(rng: np.random.Generator) -> FloatArray:
    t = _seconds()
    period = rng.choice([rng.uniform(0.2, 0.5), rng.uniform(2.0, 6.0)])
    low, high = rng.uniform(450, 750), rng.uniform(1_000, 1_700)
    sweep = 0.5 - 0.5 * np.cos(2 * np.pi * (t / period + rng.random()))
    if rng.random() < 0.35:
        low, high = rng.uniform(380, 520), rng.uniform(520, 720)
        sweep = ((t / rng.uniform(0.9, 1.5)) % 1.0 > 0.5).astype(np.float32)
    fade = np.exp(-(((t - rng.uniform(0, 4.6)) / rng.uniform(1.5, 6)) ** 2))
    return np.asarray(_tone(low + (high - low) * sweep, _harmonics(9, 0.7, rng)) * fade, dtype=np.float32)


def _repeated(burst: FloatArray, every: float, jitter: float, rng: np.random.Generator) -> FloatArray:
    out = np.zeros(LENGTH + len(burst), dtype=np.float32)
    at = rng.uniform(0.0, every)
    while at * SAMPLE_RATE < LENGTH:
        start = int(at * SAMPLE_RATE)
        out[start : start + len(burst)] += burst * np.float32(rng.uniform(0.7, 1.0))
        at += every * rng.uniform(1 - jitter, 1 + jitter)
    return out[:LENGTH]


def _bell(rng: np.random.Generator) -> FloatArray:
    base, seconds = float(np.exp(rng.uniform(np.log(180), np.log(1_200)))), rng.uniform(1.5, 4.0)
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    partials = [0.5, 1.0, 1.19, 1.5, 2.0, 2.51, 2.66, 3.01, 4.17]
    burst = sum(
        rng.uniform(0.3, 1.0) * np.sin(2 * np.pi * base * p * t) * np.exp(-t * (0.8 + 0.7 * p)) for p in partials
    )
    return _repeated(np.asarray(burst, dtype=np.float32), rng.uniform(0.8, 2.5), 0.05, rng)


def _beep(rng: np.random.Generator) -> FloatArray:
    t = np.arange(int(rng.uniform(0.05, 0.5) * SAMPLE_RATE)) / SAMPLE_RATE
    burst = (
        np.sign(np.sin(2 * np.pi * rng.uniform(700, 3_500) * t))
        if rng.random() < 0.4
        else np.sin(2 * np.pi * rng.uniform(700, 3_500) * t)
    )
    return _repeated(np.asarray(burst, dtype=np.float32), rng.uniform(0.15, 1.0), 0.0, rng)


def _telephone(rng: np.random.Generator) -> FloatArray:
    t = _seconds()
    pair = rng.choice([[440.0, 480.0], [1_200.0, 1_500.0], [1_900.0, 2_300.0]])
    warble = np.sin(2 * np.pi * rng.uniform(12, 28) * t) > 0
    tone = np.where(warble, np.sin(2 * np.pi * pair[0] * t), np.sin(2 * np.pi * pair[1] * t)) + 0.3 * np.sin(
        6 * np.pi * pair[0] * t
    )
    return np.asarray(tone * ((t % rng.uniform(2, 4)) < rng.uniform(0.8, 1.8)), dtype=np.float32)


def _horn(rng: np.random.Generator) -> FloatArray:
    base = rng.uniform(280, 460)
    t = _seconds()
    chord = _tone(np.full(LENGTH, base, dtype=np.float32), _harmonics(14, 0.88, rng))
    chord = chord + _tone(np.full(LENGTH, base * 1.25, dtype=np.float32), _harmonics(14, 0.88, rng))
    gate = ((t + rng.random()) % rng.uniform(0.8, 3.0)) < rng.uniform(0.2, 1.2)
    return np.asarray(chord * gate, dtype=np.float32)


def _thud(cutoff: float, seconds: float, rng: np.random.Generator) -> FloatArray:
    length = int(seconds * SAMPLE_RATE)
    burst = rng.normal(size=length) * np.exp(-7.0 * np.linspace(0.0, 1.0, length))
    return low_pass(np.asarray(burst, dtype=np.float32), cutoff)


def _steps(rng: np.random.Generator) -> FloatArray:
    step = _thud(rng.uniform(500, 5_000), rng.uniform(0.06, 0.2), rng)
    scuff = _thud(9_000, rng.uniform(0.05, 0.2), rng) * np.float32(rng.uniform(0.05, 0.4))
    return _repeated(mix(step, scuff, 0.0), rng.uniform(0.35, 0.75), 0.08, rng)


def _knocks(rng: np.random.Generator) -> FloatArray:
    t = np.arange(int(0.15 * SAMPLE_RATE)) / SAMPLE_RATE
    burst = sum(np.sin(2 * np.pi * f * t) * np.exp(-t * rng.uniform(30, 70)) for f in rng.uniform(120, 900, size=4))
    knock = np.asarray(burst, dtype=np.float32) + 0.3 * _thud(3_000, 0.15, rng)[: len(t)]
    return np.asarray(_repeated(knock, rng.uniform(0.15, 0.3), 0.1, rng) * ((_seconds() % 2.0) < 0.9), dtype=np.float32)


def _applause(rng: np.random.Generator) -> FloatArray:
    out = np.zeros(LENGTH + SAMPLE_RATE, dtype=np.float32)
    for _ in range(int(rng.uniform(300, 1_500))):
        start = int(rng.integers(LENGTH))
        clap = _thud(rng.uniform(2_000, 7_000), 0.025, rng)
        out[start : start + len(clap)] += clap * np.float32(rng.uniform(0.1, 1.0))
    return out[:LENGTH]


def _engine(rng: np.random.Generator) -> FloatArray:
    t = _seconds()
    start, end = rng.uniform(22, 60), rng.uniform(22, 90)
    rate = np.asarray(start + (end - start) * t / 4.6 + rng.normal(scale=0.6), dtype=np.float32)
    rumble = _tone(rate, _harmonics(40, 0.93, rng))
    return mix(rumble, noise(LENGTH, 1.2, rng), rng.uniform(3.0, 12.0))


RECIPES: dict[str, _Synthesiser] = {
    "synthetic siren": _siren,
    "synthetic bell": _bell,
    "synthetic beep": _beep,
    "synthetic telephone": _telephone,
    "synthetic horn": _horn,
    "synthetic footsteps": _steps,
    "synthetic knocks": _knocks,
    "synthetic applause": _applause,
    "synthetic engine": _engine,
}
