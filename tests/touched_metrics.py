"""Metrics in which everything was counted once, and what of them Prometheus would see."""

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from service.monitoring.metrics import Metrics


def touched() -> Metrics:
    """Metrics of which every one has a sample."""
    metrics = Metrics()
    metrics.count_request("POST", "/caption", 200)
    metrics.count_caption(5.0, {"total": 0.5}, "city", 12)
    metrics.count_rejection("full")
    metrics.count_datastore_error()
    metrics.count_registration("succeeded", embedded=3, reused=2)
    metrics.set_jobs(["running"])
    metrics.set_domains({"city": 3})
    metrics.set_ready(True)
    metrics.set_keys_stale(False)
    metrics.set_model(bundle="embedded", clap="print", llm="small", device="cpu", version="1")
    metrics.admitted.labels("captions").inc()
    for name in ("clap", "llm"):
        queue = metrics.queue(name)
        queue.depth(1)
        queue.waited(0.1)
        queue.ran(2, 4.0, 0.2)
        queue.retried("memory")
        queue.restarted()
    return metrics


def families(metrics: Metrics) -> dict[str, Metric]:
    """The metrics by the name that the exposition's TYPE line has."""
    text = metrics.render().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every value by the name and labels of its series."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families(metrics).values()
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """The value of one series. Raises `KeyError`."""
    return samples(metrics)[name, frozenset(labels.items())]
