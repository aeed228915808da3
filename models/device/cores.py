"""Shares out the cores of a CPU between batches that run at the same time."""

import os
from dataclasses import dataclass

_CORES_A_WRITER = 4


@dataclass(frozen=True)
class Cores:
    """How the cores are shared out.

    Attributes:
        writers: number of batches of captions written at the same time, each in a thread.
        threads: number of threads that work together on one operation of a model.
    """

    writers: int
    threads: int


def share_cores(count: int | None = None) -> Cores:
    """Share out cores: two writers from two cores on, and one writer for every four cores of a large machine.

    Threads of one operation wait for each other after each of a model's thousands of small operations. If another
    process takes one core, all of them wait. Batches that run side by side never wait for each other.

    Args:
        count: number of cores; by default the cores that this process may use.
    """
    cores = max(1, count or available_cores())
    writers = max(min(2, cores), cores // _CORES_A_WRITER)
    return Cores(writers, max(1, cores // writers))


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
