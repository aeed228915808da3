"""How long a wrong key takes to be refused, by how much of a real one it has: whether the time tells of the key.

Beside the service's own comparison runs one that is made to tell, so that a difference nobody sees is known to be one
that would have been seen.
"""

import math
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.report import Report
from service.auth.guard import Guard
from service.auth.keys import PREFIX, Key, Keyring, Scope, digest_of, new_key
from service.errors import NotAuthenticated

_OURS, _CONTROL = "identify", "control: letter by letter"
# Two-sided, of a normal distribution: 99%.
_DEVIATIONS = 2.576


@dataclass(frozen=True)
class KeySettings:
    """What is measured.

    Attributes:
        trials: of each kind of wrong key.
        shared: characters of its secret part that a wrong key has in common with a real one; -1 for all but one.
        keys: of the service.
        candidates: different wrong keys of a kind.
    """

    trials: int = 20_000
    shared: tuple[int, ...] = (0, 8, 16, 24, -1)
    keys: int = 20
    candidates: int = 200


def run(settings: KeySettings, report: Report, console: Console) -> None:
    """Measure both comparisons. The wrong keys take turns, in a new order each time, so that a slow moment hits all."""
    real = [new_key() for _ in range(settings.keys)]
    scopes = frozenset({Scope.caption})
    guard = Guard(Keyring([Key(name=f"k{at}", digest=digest_of(key), scopes=scopes) for at, key in enumerate(real)]))

    def identify(presented: str) -> None:
        with suppress(NotAuthenticated):
            guard.identify(presented)

    def control(presented: str) -> None:
        for key in real:
            for one, other in zip(key, presented, strict=True):
                if one != other:
                    break

    wrong = [[_wrong(real, shared) for _ in range(settings.candidates)] for shared in settings.shared]
    for what, check in ((_OURS, identify), (_CONTROL, control)):
        console.print(f"{what}: {settings.trials:,} trials of {len(wrong)} kinds of keys")
        taken = _nanoseconds(check, wrong, settings.trials)
        for kind, shared in enumerate(settings.shared):
            low, middle, high = _median_difference(taken[kind] - taken[0])
            report.rows.append(
                {
                    "what": what,
                    "shared": shared if shared >= 0 else len(real[0]) - len(PREFIX) - 1,
                    "trials": settings.trials,
                    "p50_us": float(np.median(taken[kind])) / 1e3,
                    "difference_ns": middle,
                    "low_ns": low,
                    "high_ns": high,
                }
            )
    report.notes.append("difference_ns: median of the differences to the key that shares nothing, trial by trial")
    report.notes.append("low_ns, high_ns: its 99% interval, by order statistics")


def _wrong(real: list[str], shared: int) -> str:
    """A key of the right length that is none, and begins as a real one does for as long as asked."""
    key = random.choice(real)  # noqa: S311 - which one is no secret here
    kept = len(PREFIX) + shared if shared >= 0 else len(key) - 1
    tail = new_key()[kept:]
    while tail[:1] == key[kept : kept + 1]:
        tail = new_key()[kept:]
    return key[:kept] + tail


def _nanoseconds(check: Callable[[str], None], wrong: list[list[str]], trials: int) -> NDArray[np.float64]:
    """What a check takes: [kinds of wrong keys, trials]."""
    taken = np.zeros((len(wrong), trials))
    order = list(range(len(wrong)))
    for trial in range(trials):
        random.shuffle(order)
        for kind in order:
            presented = wrong[kind][trial % len(wrong[kind])]
            started = time.perf_counter_ns()
            check(presented)
            taken[kind, trial] = time.perf_counter_ns() - started
    return taken


def _median_difference(differences: NDArray[np.float64]) -> tuple[float, float, float]:
    """The median with its interval, which holds whatever the distribution: low, median, high."""
    ordered = np.sort(differences)
    half = _DEVIATIONS * math.sqrt(len(ordered)) / 2
    low, high = math.floor(len(ordered) / 2 - half), math.ceil(len(ordered) / 2 + half)
    return float(ordered[max(0, low)]), float(np.median(ordered)), float(ordered[min(len(ordered) - 1, high)])
