"""Stopwatch: measures the seconds of each stage of a request. Each stage is also a span of the trace."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from service.monitoring.tracing import span


@dataclass
class Stopwatch:
    """Seconds by stage, summed over the runs of a stage. The stage that ended last comes last."""

    seconds: dict[str, float] = field(default_factory=dict)
    _started: float = field(default_factory=time.perf_counter)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one run of a stage."""
        started = time.perf_counter()
        try:
            with span(name):
                yield
        finally:
            self.seconds[name] = self.seconds.pop(name, 0.0) + time.perf_counter() - started

    def stop(self) -> dict[str, float]:
        """Add ``total``, the seconds since the stopwatch was created, and return all stages."""
        self.seconds["total"] = time.perf_counter() - self._started
        return self.seconds
