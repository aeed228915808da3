"""A long run at capacity, which shows whether memory, file descriptors or threads grow."""

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from benchmarks.report import BenchmarkReport, Row
from benchmarks.serving.clients import closed_loop
from benchmarks.serving.servers import running, the_servers

_SAMPLE_SECONDS = 5.0
_WARM_SHARE = 0.25
_WINDOW = 12


@dataclass(frozen=True)
class SoakSettings:
    """The number of clients at the same time, and the length of the run in minutes."""

    clients: int = 16
    minutes: float = 20.0


def soak(domain: Path, recordings: Sequence[bytes], settings: SoakSettings, report: BenchmarkReport) -> None:
    """Keep the service at its capacity and record its memory, file descriptors and threads.

    In the first quarter caches fill and the allocator settles. The mean of the minute after it is compared with that
    of the last minute.

    Args:
        domain: a file of `benchmarks.serving.plain.save_domain`.
        recordings: are sent again and again.
        settings: number of clients and minutes.
        report: gets a row for each minute, and the comparison.
    """
    clients, minutes = settings.clients, settings.minutes
    samples: list[tuple[float, float, int, int]] = []
    stop = threading.Event()

    def watch(pid: int) -> None:
        service, started = psutil.Process(pid), time.monotonic()
        while not stop.wait(_SAMPLE_SECONDS):
            held = service.memory_info().rss / 1e6, service.num_fds(), service.num_threads()
            samples.append((time.monotonic() - started, *held))

    server = the_servers(domain)["drcap"]
    with running(server) as up:
        watcher = threading.Thread(target=watch, args=(up.pid,), daemon=True)
        watcher.start()
        answers = asyncio.run(closed_loop(server.ask(up.url), recordings, clients, 60.0 * minutes))
        stop.set()
        watcher.join()
    table = np.array(samples)
    report.rows += [_row(f"minute {minute + 1}", table, minute) for minute in range(int(minutes))]
    warm = table[int(len(table) * _WARM_SHARE) :][:_WINDOW].mean(axis=0)
    last = table[-_WINDOW:].mean(axis=0)
    names = ("rss_mb", "file_descriptors", "threads")
    growth: Row = {f"{name}_growth": float(last[at] / warm[at] - 1) for at, name in enumerate(names, start=1)}
    report.rows.append({"what": f"from minute {minutes * _WARM_SHARE:g} to the end", **growth})
    report.rows.append({"what": f"{clients} clients, {minutes:g} minutes", **answers.row()})


def _row(what: str, table: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", minute: int) -> Row:
    rows = table[(table[:, 0] >= 60 * minute) & (table[:, 0] < 60 * (minute + 1))]
    _, memory, files, threads = rows.mean(axis=0) if len(rows) else (0.0,) * 4
    return {"what": what, "rss_mb": float(memory), "file_descriptors": float(files), "threads": float(threads)}
