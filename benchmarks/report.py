"""What all benchmarks share: timing, facts about the machine, and results as a table and as JSON."""

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
class Report:
    """The results of one subject: one flat row a measurement, with what they were measured on."""

    subject: str
    settings: Mapping[str, Any]
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
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
        """Print rows that have the same columns as one table, then the notes."""
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
    """Processor, cores this process may use, memory in GB, load, and the versions that matter."""
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
    """How long each call took."""
    taken = []
    for one in work:
        started = time.perf_counter()
        one()
        taken.append((time.perf_counter() - started) * 1e3)
    return taken


def percentiles(taken: Sequence[float], prefix: str = "") -> Row:
    """Median and 99th percentile of milliseconds, as columns."""
    return {f"{prefix}p50_ms": float(np.percentile(taken, 50)), f"{prefix}p99_ms": float(np.percentile(taken, 99))}


def memory() -> Row:
    """Resident memory of this process in MB, and the part of it that is not file pages the system can drop."""
    status = Path("/proc/self/status")
    if not status.exists():
        return {"rss_mb": None, "anonymous_mb": None}
    lines = (line.split() for line in status.read_text(encoding="ascii").splitlines())
    sizes = {words[0]: int(words[1]) / 1024 for words in lines if words[0] in ("VmRSS:", "RssAnon:")}
    return {"rss_mb": sizes.get("VmRSS:"), "anonymous_mb": sizes.get("RssAnon:")}


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
