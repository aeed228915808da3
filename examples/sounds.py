"""The recipes of the sample recordings: each makes a mono signal at `RATE` from a seeded generator."""

from collections.abc import Callable, Mapping

import numpy as np

from examples.bodies import BELL, CASE, CLOCKWORK, GONG, SOLE
from examples.synthesis import (
    RATE,
    Signal,
    Tape,
    band_noise,
    bump,
    grain,
    room,
    slow_noise,
    struck,
    swept,
)

Recipe = Callable[[np.random.Generator], Signal]


def rain(rng: np.random.Generator) -> Signal:
    """Steady rain on leaves: a hiss of far drops and the ticks of near ones."""
    tape = Tape(6.0, rng)
    _lay_rain(tape, near_drops=900)
    return tape.finished(peak=0.5)


def thunder(rng: np.random.Generator) -> Signal:
    """Thunder that cracks and rolls away while rain falls."""
    tape = Tape(8.0, rng)
    _lay_rain(tape, near_drops=700)
    tape.signal *= 0.06 / tape.signal.std()
    tape.lay(grain(rng, 0.7, 60, 2_500), at=1.0, gain=0.6)
    for at, seconds, gain in ((1.0, 5.5, 1.6), (1.5, 2.0, 0.8), (2.6, 3.0, 0.9), (4.4, 3.0, 0.5)):
        samples = round(seconds * RATE)
        roll = band_noise(rng, samples, 25, 180, tilt=-0.6) * bump(samples, rise=0.12)
        tape.lay(roll * (0.4 + slow_noise(rng, samples, 7.0)), at=at, gain=0.4 * gain)
    return tape.finished(peak=0.85)


def siren(rng: np.random.Generator) -> Signal:
    """A siren that wails up and down over the hum of a street."""
    tape = Tape(6.0, rng)
    time = np.arange(len(tape.signal)) / RATE
    # The wail rises faster than it falls, as a driven siren does.
    cycle = (time / 2.9 + 0.1) % 1
    height = np.where(cycle < 0.4, cycle / 0.4, (1 - cycle) / 0.6)
    hertz = 600 * (1_300 / 600) ** (np.sin(np.pi / 2 * height) ** 1.3)
    tape.lay(room(rng, swept(np.asarray(hertz), [1.0, 0.35, 0.3, 0.15, 0.1]), 1.5, 0.15), at=0.0)
    tape.signal += 0.03 * band_noise(rng, len(tape.signal), 60, 3_000, tilt=-0.7)
    return tape.finished(peak=0.7)


def church_bell(rng: np.random.Generator) -> Signal:
    """A church bell struck three times, each stroke ringing into the next."""
    tape = Tape(8.0, rng)
    for at in (0.3, 2.6, 4.95):
        gain = float(rng.uniform(0.85, 1.0))
        # No bell is perfectly round: each partial is a pair that beats slowly.
        for beat in (1.0, 1.0009):
            tape.lay(struck(BELL, 8.0, attack=0.002, tune=330 * beat), at=at, gain=0.5 * gain)
        tape.lay(grain(rng, 0.03, 1_500, 7_000), at=at, gain=0.5)
    tape.signal = room(rng, tape.signal, 2.0, 0.15)
    return tape.finished(peak=0.75)


def footsteps(rng: np.random.Generator) -> Signal:
    """Someone walks on gravel, heel then toe: each step is some hundred stones that shift."""
    tape = Tape(6.0, rng)
    for step in range(10):
        at = 0.25 + 0.57 * step + float(rng.normal(0, 0.015))
        for offset, stones, spread, weight in ((0.0, 250, 0.10, 1.0), (0.13, 330, 0.18, 0.65)):
            for _ in range(stones):
                low = float(rng.uniform(500, 3_600))
                stone = grain(rng, float(rng.uniform(0.004, 0.010)), low, 2.6 * low)
                when = at + offset + spread * float(rng.beta(1.6, 3.0))
                tape.lay(stone, at=when, gain=weight * float(rng.lognormal(-1.6, 0.4)))
            tape.lay(struck(SOLE, 0.15, attack=0.004), at=at + offset, gain=1.2 * weight)
    tape.signal = room(rng, tape.signal, 0.25, 0.06)
    return tape.finished(peak=0.6, floor=0.001)


def engine(rng: np.random.Generator) -> Signal:
    """A car engine that idles and is revved twice: harmonics of the firing rate, and breath."""
    tape = Tape(6.0, rng)
    samples = len(tape.signal)
    time = np.arange(samples) / RATE
    throttle = np.clip(np.sin(2 * np.pi * time / 3.0 - 1.2), 0, 1) ** 1.5
    firing = (30 + 80 * throttle) * (1 + 0.04 * (slow_noise(rng, samples, 12.0) - 0.5))
    # Cylinders differ, so half the firing rate and its odd multiples are there too, weaker.
    exhaust = np.zeros(samples)
    phase = np.pi * np.cumsum(firing) / RATE
    for number in range(1, 90):
        hertz = firing * number / 2
        loudness = (hertz / 200) / (1 + (hertz / 200) ** 2.2) * (1.0 if number % 2 == 0 else 0.4)
        exhaust += float(rng.uniform(0.4, 1.3)) * loudness * np.sin(number * phase + float(rng.uniform(0, 6.28)))
    pulses = np.maximum(0, np.cos(2 * phase)) ** 3
    breath = band_noise(rng, samples, 200, 6_000, tilt=-0.5) * (0.3 + pulses)
    tape.signal += (exhaust / exhaust.std() + 0.5 * breath) * (0.35 + 0.65 * throttle)
    tape.signal += 0.1 * band_noise(rng, samples, 60, 6_000, tilt=-0.6)
    return tape.finished(peak=0.7)


def clock(rng: np.random.Generator) -> Signal:
    """An alarm clock ticks close by, four times a second, tick higher than tock."""
    tape = Tape(5.0, rng)
    for beat in range(19):
        pitch = 1.0 if beat % 2 == 0 else 0.86
        at = 0.2 + 0.25 * beat
        tape.lay(struck(CLOCKWORK, 0.15, attack=0.0002, tune=pitch), at=at)
        tape.lay(struck(CASE, 0.2, attack=0.0005, tune=pitch), at=at)
        tape.lay(grain(rng, 0.004, 3_000, 12_000), at=at, gain=0.5)
        tape.lay(struck(CLOCKWORK, 0.05, attack=0.0002, tune=pitch), at=at + 0.019, gain=0.35)
    return tape.finished(peak=0.5)


def telephone(rng: np.random.Generator) -> Signal:
    """An old telephone rings twice: a clapper between two small gongs."""
    tape = Tape(6.0, rng)
    for ring in (0.3, 3.4):
        for strike in range(40):
            tune = 1.0 if strike % 2 == 0 else 1.19
            at = ring + strike / 21.0 + float(rng.normal(0, 0.001))
            gong = struck(GONG, 1.0, attack=0.0004, tune=tune)
            tape.lay(gong, at=at, gain=float(rng.uniform(0.8, 1.0)))
            tape.lay(grain(rng, 0.004, 2_000, 8_000), at=at, gain=0.6)
    tape.signal = room(rng, tape.signal, 0.35, 0.12)
    return tape.finished(peak=0.6)


def wind(rng: np.random.Generator) -> Signal:
    """Gusts of wind that howl round a corner."""
    tape = Tape(7.0, rng)
    samples = len(tape.signal)
    gusts = 0.25 + slow_noise(rng, samples, 0.8) ** 1.5
    tape.signal += 1.0 * band_noise(rng, samples, 30, 350, tilt=-0.5) * gusts
    for low, high, share in ((350, 650, 0.55), (550, 950, 0.4), (900, 1_700, 0.2)):
        sway = slow_noise(rng, samples, 0.9) ** 2
        tape.signal += share * band_noise(rng, samples, low, high) * sway * gusts * 1.4
    howl = 420 + 230 * slow_noise(rng, samples, 0.7)
    breath = 1 + 0.35 * band_noise(rng, samples, 2, 30)
    tape.signal += 0.22 * swept(howl, [1.0, 0.15]) * breath * gusts
    return tape.finished(peak=0.7)


def birds(rng: np.random.Generator) -> Signal:
    """Songbirds: phrases of quick chirps and a trill, answered from farther off."""
    tape = Tape(6.0, rng)
    phrases = ((0.3, 1.0, 3_600.0), (1.9, 0.35, 4_700.0), (2.8, 0.9, 3_500.0), (4.4, 0.4, 4_600.0))
    for at, gain, base in phrases:
        when = at
        for _ in range(int(rng.integers(5, 8))):
            samples = round(float(rng.uniform(0.05, 0.12)) * RATE)
            first, last = base * rng.uniform(0.8, 1.5, size=2)
            curve = np.linspace(first, last, samples) * (1 + 0.12 * np.sin(np.linspace(0, np.pi, samples)))
            tape.lay(swept(curve, [1.0, 0.12, 0.03]) * bump(samples, 0.25), at=when, gain=gain)
            when += samples / RATE + float(rng.uniform(0.02, 0.09))
        trill = np.arange(round(0.35 * RATE)) / RATE
        curve = base * (1.15 + 0.10 * np.sin(2 * np.pi * 28 * trill))
        tape.lay(swept(curve, [1.0, 0.1]) * bump(len(trill), 0.3), at=when, gain=0.7 * gain)
    tape.signal = room(rng, tape.signal, 0.8, 0.15)
    tape.signal += 0.006 * band_noise(rng, len(tape.signal), 200, 3_000, tilt=-0.5)
    return tape.finished(peak=0.5)


def fire(rng: np.random.Generator) -> Signal:
    """A campfire: crackles in flurries, a snap now and then, over the flutter of the flames."""
    tape = Tape(6.0, rng)
    samples = len(tape.signal)
    for _ in range(45):
        flurry, size = float(rng.uniform(0, tape.seconds)), int(rng.integers(2, 14))
        for _ in range(size):
            low = float(rng.uniform(1_200, 6_000))
            crackle = grain(rng, float(rng.uniform(0.001, 0.006)), low, 2.5 * low)
            at = flurry + float(rng.exponential(0.06))
            tape.lay(crackle, at=at, gain=min(float(rng.lognormal(-1.6, 0.8)), 1.0))
    flutter = band_noise(rng, samples, 40, 500, tilt=-0.5) * (0.4 + slow_noise(rng, samples, 6.0))
    tape.signal += 0.035 * flutter + 0.008 * band_noise(rng, samples, 500, 8_000)
    return tape.finished(peak=0.6)


def waves(rng: np.random.Generator) -> Signal:
    """Waves that swell, break and draw back over sand."""
    tape = Tape(8.0, rng)
    samples = len(tape.signal)
    tape.signal += 0.05 * band_noise(rng, samples, 300, 6_000, tilt=-0.5)
    for at, gain in ((-1.5, 0.7), (1.2, 1.0), (4.3, 0.85)):
        rise, fall = round(1.4 * RATE), round(3.0 * RATE)
        shape = np.concatenate([np.linspace(0, 1, rise) ** 2.5, np.linspace(1, 0, fall) ** 1.6])
        body = band_noise(rng, len(shape), 60, 900, tilt=-0.4) * shape
        # The hiss of the foam follows the break and lasts longest.
        foam = band_noise(rng, len(shape), 900, 9_000, tilt=-0.3) * np.roll(shape, round(0.25 * RATE)) ** 1.5
        wave = 0.3 * body + 0.8 * foam * (0.7 + 0.6 * slow_noise(rng, len(shape), 15.0))
        begun = round(max(0.0, -at) * RATE)
        tape.lay(wave[begun:], at=max(0.0, at), gain=gain)
    return tape.finished(peak=0.6)


def _lay_rain(tape: Tape, near_drops: int) -> None:
    """Add rain to the whole tape; `near_drops` is the number of single drops each second."""
    samples = len(tape.signal)
    tape.signal += 0.10 * band_noise(tape.rng, samples, 700, 11_000, tilt=-0.25)
    for _ in range(round(near_drops * tape.seconds)):
        at = float(tape.rng.uniform(0, tape.seconds))
        low = float(tape.rng.uniform(1_000, 6_000))
        drop = grain(tape.rng, float(tape.rng.uniform(0.001, 0.005)), low, 2 * low)
        tape.lay(drop, at=at, gain=min(float(tape.rng.lognormal(-2.6, 0.7)), 0.35))


SOUNDS: Mapping[str, Recipe] = {
    "birds": birds,
    "church-bell": church_bell,
    "clock": clock,
    "engine": engine,
    "fire": fire,
    "footsteps": footsteps,
    "rain": rain,
    "siren": siren,
    "telephone": telephone,
    "thunder": thunder,
    "waves": waves,
    "wind": wind,
}
"""The recipes by file name."""
