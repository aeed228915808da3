"""Counts what one app does, for Prometheus. Each app has a registry of its own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from service.monitoring import labels
from service.monitoring.labels import FirstComers

_SECONDS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
_ITEMS = (1, 2, 4, 8, 16, 32, 64)
_COSTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
_DOMAINS = 50


class Metrics:
    """All metrics of an app. Every label has a bounded number of values: see `service.monitoring.labels`.

    Attributes:
        admitted: number of running requests, by kind.
    """

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, domains: int = _DOMAINS) -> None:
        """
        Args:
            domains: number of domains with a series of their own; the others share one.
        """
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._domain = FirstComers(domains)

        self._requests = self._counter("requests", "Requests answered.", "method", "route", "status")
        self._rejections = self._counter("rejections", "Requests rejected, by reason.", "reason")
        self.admitted = self._gauge("admitted", "Requests accepted and not yet answered.", "kind")
        self._stages = self._histogram(
            "stage_seconds", "Seconds a stage of a caption took, waiting included.", _SECONDS, "stage"
        )
        self._audio = self._counter("audio_seconds", "Seconds of audio captioned.")
        self._tokens = self._counter("tokens", "Tokens written by the LLM for captions that were answered.")
        self._captions = self._counter("captions", "Recordings captioned, by domain.", "domain")

        self._depth = self._gauge("queue_depth", "Items waiting for a model.", "queue")
        self._waits = self._histogram("queue_wait_seconds", "Seconds an item waited for its batch.", _SECONDS, "queue")
        self._sizes = self._histogram("batch_size", "Items of a batch.", _ITEMS, "queue")
        self._costs = self._histogram(
            "batch_cost", "Cost of a batch: seconds of audio (clap) or tokens (llm).", _COSTS, "queue"
        )
        took = "Seconds a batch took in the model, including turns left to others."
        self._runs = self._histogram("batch_seconds", took, _SECONDS, "queue")
        self._retries = self._counter("batches_retried", "Batches run again in parts.", "queue", "reason")
        self._restarts = self._counter("worker_restarts", "Threads of a model that died and were replaced.", "queue")

        self._datastore_errors = self._counter("datastore_errors", "Requests the datastore did not answer.")
        self._registrations = self._counter("registrations", "Registrations ended, by outcome.", "outcome")
        self._registered = self._counter("registered_captions", "Captions registered, by source of vector.", "source")
        self._jobs = self._gauge("jobs", "Remembered jobs, by state.", "state")
        self._domains = self._gauge("domains", "Registered domains.")
        self._domain_captions = self._gauge("domain_captions", "Captions of a domain.", "domain")

        self._ready = self._gauge("ready", "1 if the service could caption at the last check.")
        self._model = self._gauge("model_info", "Always 1. The labels name the models.", *labels.MODEL)
        self._keys_stale = self._gauge("keys_stale", "1 while the file of keys has changed and cannot be read.")
        self._touch()

    def count_request(self, method: str, route: str, status: int) -> None:
        """Count an answered request. `route` is a template, never a path."""
        self._requests.labels(method, route, str(status)).inc()

    def count_caption(
        self, audio_seconds: float, stages: Mapping[str, float], domain: str | None = None, tokens: int = 0
    ) -> None:
        """Count a caption: seconds of its audio and of each stage, its domain, and its tokens."""
        self._audio.inc(audio_seconds)
        self._tokens.inc(tokens)
        if domain is not None:
            self._captions.labels(self._domain.of(domain)).inc()
        for stage, seconds in stages.items():
            self._stages.labels(stage).observe(seconds)

    def count_rejection(self, reason: str) -> None:
        """Count a rejected request. `reason` is one of `labels.REASONS`."""
        self._rejections.labels(reason).inc()

    def count_problem(self, status: int, slug: str) -> None:
        """Count a problem document as a rejection, as an error of the datastore, or not at all."""
        reason = labels.BY_SLUG.get(slug) or labels.BY_STATUS.get(status)
        if reason is not None:
            self.count_rejection(reason)
        elif slug == labels.DATASTORE_SLUG:
            self.count_datastore_error()

    def count_datastore_error(self) -> None:
        """Count a missing or wrong answer of the datastore."""
        self._datastore_errors.inc()

    def count_registration(self, outcome: str, embedded: int = 0, reused: int = 0) -> None:
        """Count a registration that ``succeeded``, ``failed`` or was ``cancelled``, and its captions by source."""
        self._registrations.labels(outcome).inc()
        self._registered.labels("embedded").inc(embedded)
        self._registered.labels("reused").inc(reused)

    def set_jobs(self, states: Iterable[str]) -> None:
        """Set the number of jobs in each state, from the states of all remembered jobs."""
        listed = list(states)
        for state in labels.JOB_STATES:
            self._jobs.labels(state).set(listed.count(state))

    def set_domains(self, captions: Mapping[str, int]) -> None:
        """Set the number of captions of every domain."""
        self._domains.set(len(captions))
        self._domain_captions.clear()
        for domain, count in captions.items():
            self._domain_captions.labels(self._domain.of(domain)).inc(count)

    def set_ready(self, ready: bool) -> None:
        """Set whether the service can caption."""
        self._ready.set(ready)

    def set_keys_stale(self, stale: bool) -> None:
        """Set whether the file of keys has become unreadable, so that the earlier keys still count."""
        self._keys_stale.set(stale)

    def set_model(self, *, bundle: str, clap: str, llm: str, device: str, version: str) -> None:
        """Set the names of bundle and LLM, the CLAP's fingerprint, the device and the version of drcap."""
        self._model.clear()
        self._model.labels(bundle, clap, llm, device, version).set(1)

    def queue(self, name: str) -> "QueueMetrics":
        """Return the metrics of a model's queue, ``clap`` or ``llm``."""
        return QueueMetrics(
            waiting=self._depth.labels(name),
            waits=self._waits.labels(name),
            sizes=self._sizes.labels(name),
            costs=self._costs.labels(name),
            runs=self._runs.labels(name),
            retries={reason: self._retries.labels(name, reason) for reason in labels.RETRIES},
            restarts=self._restarts.labels(name),
        )

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _touch(self) -> None:
        # rate() misses the first event of a counter that did not exist before.
        for reason in labels.REASONS:
            self._rejections.labels(reason)
        for outcome in labels.OUTCOMES:
            self._registrations.labels(outcome)
        for source in labels.SOURCES:
            self._registered.labels(source)
        self.set_jobs([])

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"drcap_{name}", what, labels, registry=self._registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"drcap_{name}", what, labels, registry=self._registry)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"drcap_{name}", what, labels, buckets=buckets, registry=self._registry)


@dataclass(frozen=True)
class QueueMetrics:
    """Metrics of one queue. It is an `Observer` of `service.batching`."""

    waiting: Gauge
    waits: Histogram
    sizes: Histogram
    costs: Histogram
    runs: Histogram
    retries: Mapping[str, Counter]
    restarts: Counter

    def depth(self, items: int) -> None:
        """Set the number of waiting items."""
        self.waiting.set(items)

    def waited(self, seconds: float) -> None:
        """Record how many seconds an item waited for its batch."""
        self.waits.observe(seconds)

    def ran(self, items: int, cost: float, seconds: float) -> None:
        """Record a batch that succeeded."""
        self.sizes.observe(items)
        self.costs.observe(cost)
        self.runs.observe(seconds)

    def retried(self, reason: str) -> None:
        """Count a batch that runs again in parts."""
        self.retries[reason].inc()

    def restarted(self) -> None:
        """Count a thread that died and was replaced."""
        self.restarts.inc()
