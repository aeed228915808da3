"""How long the stages of one request take; each is a span of its trace."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

from service.monitoring.tracing import span

_TOTAL = "total"


@dataclass
class Stopwatch:
    """Seconds by stage, summed over the times a stage ran, waiting for its thread included; last what ended last."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            # What is total for a request is its own span already.
            with nullcontext() if name == _TOTAL else span(name):
                yield
        finally:
            self.seconds[name] = self.seconds.pop(name, 0.0) + time.perf_counter() - started
