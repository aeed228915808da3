"""How the cores of a CPU are shared out among what runs at the same time."""

import os
from dataclasses import dataclass

_CORES_A_WRITER = 4


@dataclass(frozen=True)
class Cores:
    """The share of each.

    Attributes:
        writers: batches of captions that are written at the same time, in a thread each.
        threads: that work together within one operation of a model.
    """

    writers: int
    threads: int


def share_cores(count: int | None = None, writers: int | None = None) -> Cores:
    """Share out cores: two writers wherever there are two cores, and one for every four of many.

    Threads of one operation wait for each other after each of a model's thousands of small operations, and where
    somebody else takes a core, all of them wait. Batches that run side by side never do.

    Args:
        count: cores; those this process may use when left out.
        writers: how many there are to be, where that is decided.
    """
    cores = max(1, count or available_cores())
    chosen = writers or max(min(2, cores), cores // _CORES_A_WRITER)
    return Cores(chosen, max(1, cores // chosen))


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
