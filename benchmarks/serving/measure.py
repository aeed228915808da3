"""Measures throughput, latency and memory of the service and its peers, its bound, and its answer to overload."""

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console

from benchmarks.report import BenchmarkReport, Row
from benchmarks.serving.clients import closed_loop, open_loop
from benchmarks.serving.plain import save_domain
from benchmarks.serving.servers import Running, Server, running, the_servers
from benchmarks.serving.stages import stage_costs
from models.vectors import FloatArray

_MOST_WARM_UP = 8


@dataclass(frozen=True)
class ServingSettings:
    """The settings of a measurement.

    Attributes:
        servers: short names in `benchmarks.serving.servers.the_servers`.
        clients: of the closed loops.
        seconds: of each measurement.
        ramp: seconds of load before each, until the server is fully loaded.
        rounds: of all servers in turn; the middle rate counts.
        overload: multiples of the service's best rate to send, whatever the answers.
    """

    servers: tuple[str, ...] = ("drcap", "a", "b", "c")
    clients: tuple[int, ...] = (1, 4, 16, 64)
    seconds: float = 60.0
    ramp: float = 15.0
    rounds: int = 1
    overload: tuple[float, ...] = (2.0, 4.0)


def run(
    captions: Sequence[str],
    vectors: FloatArray,
    recordings: Sequence[bytes],
    settings: ServingSettings,
    report: BenchmarkReport,
    console: Console,
) -> None:
    """Measure into the report.

    Args:
        captions: of the domain.
        vectors: their embeddings [n, d].
        recordings: are sent in turn, again and again.
    """
    with tempfile.TemporaryDirectory() as folder:
        domain = Path(folder) / "domain.npz"
        save_domain(domain, captions, vectors)
        servers = the_servers(domain)
        console.print("serving: the stages alone")
        report.rows += stage_costs(domain, recordings)
        measured: dict[tuple[str, int], list[Row]] = {}
        for _ in range(settings.rounds):
            for name in settings.servers:
                console.print(f"serving: {servers[name].name}")
                for clients, row in _closed(servers[name], recordings, settings).items():
                    measured.setdefault((name, clients), []).append(row)
        middle = {key: sorted(rows, key=_rate)[len(rows) // 2] for key, rows in measured.items()}
        report.rows += _compared(middle, servers)
        if "drcap" in settings.servers and settings.overload:
            peak = max(_rate(row) for (name, _), row in middle.items() if name == "drcap")
            console.print("serving: overload")
            report.rows += _overload(servers["drcap"], recordings, peak, settings)


def _closed(server: Server, recordings: Sequence[bytes], settings: ServingSettings) -> dict[int, Row]:
    rows: dict[int, Row] = {}
    room = {"DRCAP_ADMISSION__CAPTIONS": str(max(settings.clients)), "DRCAP_TIMEOUTS__CAPTION_SECONDS": "600"}
    with running(server, room) as up:
        ask = server.ask(up.url)
        asyncio.run(closed_loop(ask, recordings[:_MOST_WARM_UP], 2, 8.0))
        for clients in settings.clients:
            with _cores(up) as used:
                row = asyncio.run(closed_loop(ask, recordings, clients, settings.seconds, settings.ramp)).row()
            rows[clients] = {**row, **used, "peak_mb": up.peak_mb}
    return rows


@contextmanager
def _cores(up: Running) -> Iterator[Row]:
    """Give a row that gets, on leaving, the cores that the server used and those that the machine's host withheld."""
    used: Row = {}
    busy, stolen, began = up.core_seconds(), _stolen(), time.monotonic()
    yield used
    taken = time.monotonic() - began
    used["cores_used"] = (up.core_seconds() - busy) / taken
    used["cores_stolen"] = (_stolen() - stolen) / taken


def _stolen() -> float:
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def _compared(rows: dict[tuple[str, int], Row], servers: dict[str, Server]) -> list[Row]:
    """Return a row for each server and number of clients, with the service's rate and median latency beside it."""
    table: list[Row] = []
    for (name, clients), row in sorted(rows.items(), key=lambda item: item[0][1]):
        ours = rows.get(("drcap", clients))
        against = (
            {"drcap_times_faster": _rate(ours) / _rate(row), "drcap_latency_share": _ratio(ours["p50_s"], row["p50_s"])}
            if ours is not None
            else {}
        )
        table.append({"what": servers[name].name, "clients": clients, **row, **against})
    return table


def _overload(server: Server, recordings: Sequence[bytes], peak: float, settings: ServingSettings) -> list[Row]:
    rows: list[Row] = []
    with running(server) as up:
        ask = server.ask(up.url)
        asyncio.run(closed_loop(ask, recordings, 4, 8.0))
        for times in settings.overload:
            row = asyncio.run(open_loop(ask, recordings, peak * times, settings.seconds, settings.ramp)).row()
            goodput = _rate(row) / peak
            rows.append({"what": f"drcap, {times:g} x its best rate", **row, "share_of_best_rate": goodput})
    return rows


def _rate(row: Row) -> float:
    rate = row["captions_per_s"]
    return float(rate) if isinstance(rate, int | float) else 0.0


def _ratio(one: object, other: object) -> float | None:
    return one / other if isinstance(one, float) and isinstance(other, float) else None
