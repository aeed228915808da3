"""What a process holds, and what it answered."""

import importlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import httpx

NOTHING = "nothing"

psutil = importlib.import_module("psutil")  # without stubs


class Held(NamedTuple):
    """What a process holds: files and sockets, threads, children, and megabytes of memory of its own, without the pages
    of files, which the system takes back when it needs them."""

    files: int
    threads: int
    children: int
    megabytes: float


def held(pid: int) -> Held:
    """What a process holds now."""
    process = psutil.Process(pid)
    memory = process.memory_info()
    own = (memory.rss - getattr(memory, "shared", 0)) / 1e6
    return Held(process.num_fds(), process.num_threads(), len(process.children()), round(own, 1))


class Tally:
    """Answers by what was sent and by status; `NOTHING` where the connection was closed without one."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.slowest = 0.0

    def add(self, kind: str, status: int | str, seconds: float) -> None:
        """One answer."""
        self.counts.setdefault(kind, Counter())[str(status)] += 1
        self.slowest = max(self.slowest, seconds)

    @property
    def total(self) -> int:
        """All answers."""
        return sum(sum(counts.values()) for counts in self.counts.values())

    def __str__(self) -> str:
        lines = [f"{kind}: {json.dumps(dict(sorted(counts.items())))}" for kind, counts in self.counts.items()]
        return "\n".join([*lines, f"{self.total} requests, the slowest answered after {self.slowest:.2f} s"])


def under_way(client: httpx.Client) -> dict[str, float]:
    """Every permit, queue and unfinished job of which there is more than none, by its metric."""
    figures = client.get("/metrics").text
    pattern = r'^(drcap_admitted\{.*\}|drcap_queue_depth\{.*\}|drcap_jobs\{state="(?:queued|running)"\}) (\S+)$'
    return {name: float(value) for name, value in re.findall(pattern, figures, re.MULTILINE) if float(value)}


def leftovers(jobs: Path) -> list[str]:
    """Uploads and half-written records in the jobs folder."""
    return sorted(path.name for path in jobs.iterdir() if path.suffix in (".part", ".corpus", ".new"))
