"""Shared by all benchmarks: timing, facts about the machine, and results as a table and as JSON."""

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

FORMAT = 1
_PACKAGES = ("numpy", "torch", "transformers", "qdrant-client", "qdrant-edge-py", "faiss-cpu")
Value = str | int | float | None
Row = dict[str, Value]


@dataclass
class BenchmarkReport:
    """The results of one subject: a flat row for each measurement, with settings and notes."""

    subject: str
    settings: Mapping[str, Any]
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write everything and the facts about the machine as JSON."""
        document = {
            "format": FORMAT,
            "subject": self.subject,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "settings": dict(self.settings),
            "rows": self.rows,
            "notes": self.notes,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    def show(self, console: Console) -> None:
        """Print a table for the rows with the same columns, then the notes."""
        tables: dict[tuple[str, ...], list[Row]] = {}
        for row in self.rows:
            tables.setdefault(tuple(row), []).append(row)
        for columns, rows in tables.items():
            table = Table(title=self.subject)
            for column in columns:
                table.add_column(column.replace("_", " "), justify="left" if column == "what" else "right")
            for row in rows:
                table.add_row(*(_shown(value) for value in row.values()))
            console.print(table)
        for note in self.notes:
            console.print(f"- {note}", markup=False)


def machine() -> dict[str, Any]:
    """Return processor, cores this process may use, memory in GB, load, and the versions of the packages involved."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "packages": versions,
    }


def milliseconds(work: Iterable[Callable[[], object]]) -> list[float]:
    """Return the milliseconds that each call takes."""
    taken = []
    for one in work:
        started = time.perf_counter()
        one()
        taken.append((time.perf_counter() - started) * 1e3)
    return taken


def percentiles(taken: Sequence[float], prefix: str = "") -> Row:
    """Return median and 99th percentile of milliseconds, as columns."""
    return {f"{prefix}p50_ms": float(np.percentile(taken, 50)), f"{prefix}p99_ms": float(np.percentile(taken, 99))}


def memory(peak: bool = False) -> Row:
    """Return this process's resident memory in MB, and its part without file pages, which the system can drop.

    With `peak` also the highest resident memory so far. None where the system does not tell.
    """
    wanted = {"VmRSS:": "rss_mb", "RssAnon:": "anonymous_mb"} | ({"VmHWM:": "peak_mb"} if peak else {})
    found: Row = dict.fromkeys(wanted.values())
    status = Path("/proc/self/status")
    if status.exists():
        lines = (line.split() for line in status.read_text(encoding="ascii").splitlines())
        found |= {wanted[words[0]]: int(words[1]) / 1024 for words in lines if words[0] in wanted}
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _shown(value: Value) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 1.5 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else value
