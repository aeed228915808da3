"""What each stage of a caption costs alone, at the batch size that suits it best, and the bound that follows."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks.report import Row
from benchmarks.serving.ours import OwnCaptioner
from models.device.cores import available_cores

_BATCHES = (1, 4, 8)
_ROUNDS = 2
_RECORDINGS = 8


def stage_costs(domain: Path, recordings: Sequence[bytes]) -> list[Row]:
    """Seconds of one core a caption, by stage, and the captions a second that all cores could make of them.

    Every stage runs alone in this process with one thread, over at most 8 recordings, in batches of several sizes;
    the best of two rounds counts. The bound is cores / sum of the stages: nothing waits, sends or disturbs.
    """
    return asyncio.run(_measure(domain, recordings[:_RECORDINGS]))


async def _measure(domain: Path, recordings: Sequence[bytes]) -> list[Row]:
    own = await OwnCaptioner.open(domain)
    torch.set_num_threads(1)
    decoded = [own.decode(one) for one in recordings]
    heard = own.hear(decoded)
    found = await own.search(heard)
    prompts = own.prompts(heard, found)
    written = own.write(prompts)
    count = len(recordings)
    loop = asyncio.get_running_loop()

    async def searched(rows: slice) -> None:
        await own.search(heard[rows])

    stages: dict[str, Callable[[slice], object]] = {
        "decode_audio": lambda rows: [own.decode(one) for one in recordings[rows]],
        "embed_audio": lambda rows: own.hear(decoded[rows]),
        "projection": lambda rows: own.prompts(heard[rows], found[rows]),
        "generate": lambda rows: own.write(prompts[rows]),
        "rerank": lambda rows: own.rerank(heard[rows], found[rows], written[rows]),
    }
    costs: dict[str, tuple[float, int]] = {}
    for stage, work in stages.items():
        costs[stage] = min(_cost(work, size, count) for size in _BATCHES)
    started = loop.time()
    for row in range(count):
        await searched(slice(row, row + 1))
    costs["search"] = ((loop.time() - started) / count, 1)
    total = sum(seconds for seconds, _ in costs.values())
    rows: list[Row] = [
        {"what": f"stage {stage}", "batch": size, "core_s_a_caption": seconds}
        for stage, (seconds, size) in costs.items()
    ]
    rows.append({"what": "all stages", "batch": None, "core_s_a_caption": total})
    rows.append({"what": "bound", "cores": available_cores(), "captions_per_s": available_cores() / total})
    return rows


def _cost(work: Callable[[slice], object], size: int, count: int) -> tuple[float, int]:
    """Seconds a caption in batches of this size."""
    best = float("inf")
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        for first in range(0, count, size):
            work(slice(first, first + size))
        best = min(best, (time.perf_counter() - started) / count)
    return best, size
