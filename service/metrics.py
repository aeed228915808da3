"""Counters of one app, in a registry of its own, so two apps in a process never share a figure."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_STAGE_BUCKETS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)


class Metrics:
    """What is counted; labels are route templates, never paths, so their number is bounded."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "drcap_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self._stages = Histogram(
            "drcap_stage_seconds",
            "Seconds a stage of a caption took, waiting for its thread included.",
            ("stage",),
            buckets=_STAGE_BUCKETS,
            registry=self._registry,
        )
        self._audio = Counter("drcap_audio_seconds", "Seconds of audio captioned.", registry=self._registry)
        self.admitted = Gauge(
            "drcap_admitted", "Requests let in and not yet answered.", ("kind",), registry=self._registry
        )

    def count_request(self, method: str, route: str, status: int) -> None:
        """One answered request."""
        self._requests.labels(method, route, str(status)).inc()

    def count_caption(self, audio_seconds: float, stages: Mapping[str, float]) -> None:
        """One caption: the seconds of its audio and the seconds each stage took."""
        self._audio.inc(audio_seconds)
        for stage, seconds in stages.items():
            self._stages.labels(stage).observe(seconds)

    def render(self) -> bytes:
        """The figures in Prometheus' text format."""
        return generate_latest(self._registry)
