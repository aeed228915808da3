"""Times the hearing of a window: the embedded CLAP as it runs on a CPU, and its networks in their plain form."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch

from benchmarks.report import BenchmarkReport
from models.clap.base import Clap
from models.vectors import FloatArray


@dataclass(frozen=True)
class HearingSettings:
    """The settings of a measurement.

    Attributes:
        rounds: of both forms in turn; the median counts.
        threads: in one operation.
    """

    rounds: int = 5
    threads: int = 1


def run(
    fast: Clap, plain: Clap, windows: Sequence[FloatArray], settings: HearingSettings, report: BenchmarkReport
) -> None:
    """Time both on the same windows, one at a time and in turns, and compare their vectors."""
    before = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        taken: dict[str, list[float]] = {"plain": [], "fast": []}
        forms = {"plain": plain, "fast": fast}
        vectors = {name: clap.embed_audio(windows) for name, clap in forms.items()}
        for _ in range(settings.rounds):
            for name, clap in forms.items():
                started = time.perf_counter()
                for window in windows:
                    clap.embed_audio([window])
                taken[name].append((time.perf_counter() - started) / len(windows))
    finally:
        torch.set_num_threads(before)
    middle = {name: median(seconds) for name, seconds in taken.items()}
    for name, seconds in middle.items():
        report.rows.append({"what": name, "s_a_window": seconds, "times_plain": middle["plain"] / seconds})
    cosines = (vectors["plain"] * vectors["fast"]).sum(axis=1)
    largest = float(np.abs(vectors["plain"] - vectors["fast"]).max())
    report.notes.append(
        f"{len(windows)} windows; vectors differ by {largest:.1e} at most, cosine at least {cosines.min():.7f}"
    )
