"""The cost of each stage of a caption, at the batch size that suits it best, and the bound that follows."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.report import Row
from benchmarks.serving.ours import OwnCaptioner
from models.device.cores import available_cores

_BATCHES = (1, 4, 8)
_ROUNDS = 2
_RECORDINGS = 8


def stage_costs(domain: Path, recordings: Sequence[bytes]) -> list[Row]:
    """Measure seconds of one core a caption, by stage, and the captions a second that all cores could make of them.

    Every stage runs alone in this process with one thread, over at most 8 recordings, in batches of several sizes;
    the best of two rounds counts. The bound is cores / sum of the stages: it has no waiting, sending or disturbance.
    """
    return asyncio.run(_measure(domain, recordings[:_RECORDINGS]))


async def _measure(domain: Path, recordings: Sequence[bytes]) -> list[Row]:
    own = await OwnCaptioner.open(domain)
    torch.set_num_threads(1)
    costs: dict[str, tuple[float, int]] = {}
    for size in _BATCHES:
        for _ in range(_ROUNDS):
            for stage, seconds in (await _round(own, recordings, size)).items():
                costs[stage] = min(costs.get(stage, (float("inf"), 0)), (seconds / len(recordings), size))
    total = sum(seconds for seconds, _ in costs.values())
    rows: list[Row] = [
        {"what": f"stage {stage}", "batch": size, "core_s_a_caption": seconds}
        for stage, (seconds, size) in costs.items()
    ]
    rows.append({"what": "all stages", "batch": None, "core_s_a_caption": total})
    rows.append({"what": "bound", "cores": available_cores(), "captions_per_s": available_cores() / total})
    return rows


async def _round(own: OwnCaptioner, recordings: Sequence[bytes], size: int) -> dict[str, float]:
    """Caption all recordings in batches of this size, and return the seconds by stage."""
    seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds[name] += time.perf_counter() - started

    for first in range(0, len(recordings), size):
        await own.caption(recordings[first : first + size], stage)
    return seconds
