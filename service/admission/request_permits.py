"""Permits: a limited number of requests of one kind at a time; others are refused immediately."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import Overloaded
from service.monitoring.metrics import Metrics
from service.rates import ServiceRate
from service.settings import Settings, variable_name


class Permits:
    """Admits as many requests of one kind at a time as the setting allows."""

    def __init__(self, kind: str, settings: Settings, metrics: Metrics) -> None:
        """
        Args:
            kind: the field of `AdmissionSettings` that holds the limit, and the label of the gauge.
            settings: settings of the service.
            metrics: metrics with the gauge of admitted requests.
        """
        self._limit = int(getattr(settings.admission, kind))
        self._setting = variable_name("admission", kind)
        self._gauge = metrics.admitted.labels(kind)
        self._taken = 0
        self._rate = ServiceRate()
        self._since = 0.0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold one permit during the block. Raises `Overloaded` if all are taken."""
        if self._taken >= self._limit:
            raise Overloaded(
                f"{self._taken} requests of this kind are under way, which is the limit ({self._setting})",
                {"Retry-After": str(self._rate.retry_after(1))},
            )
        if not self._taken:
            self._since = time.monotonic()
        self._taken += 1
        self._gauge.inc()
        try:
            yield
        finally:
            self._taken -= 1
            self._gauge.dec()
            # A refused client waits until the next request finishes, so record the time between two ends.
            now = time.monotonic()
            self._rate.record(1, now - self._since)
            self._since = now
