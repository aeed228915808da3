"""What the service counts, and that no client can make it count without end."""

import re
from pathlib import Path

import pytest

from service import errors
from service.batching.runner import Observer
from service.errors import ServiceError
from service.jobs.records import JobState
from service.monitoring import labels
from service.monitoring.metrics import Metrics
from tests.touched_metrics import families, samples, touched, value

ROOT = Path(__file__).resolve().parents[4]


def slugs(kind: type[ServiceError] = ServiceError) -> set[str]:
    return {kind.slug}.union(*(slugs(child) for child in kind.__subclasses__()))


def test_two_apps_share_no_figure() -> None:
    one, other = Metrics(), Metrics()
    one.count_datastore_error()
    assert value(one, "drcap_datastore_errors_total") == 1
    assert value(other, "drcap_datastore_errors_total") == 0


def test_a_caption_counts_its_audio_tokens_stages_and_domain() -> None:
    metrics = Metrics()
    metrics.count_caption(5.0, {"total": 0.75, "search": 0.25}, "city", 12)
    metrics.count_caption(2.5, {"total": 0.25}, "city", 8)
    assert value(metrics, "drcap_audio_seconds_total") == 7.5
    assert value(metrics, "drcap_tokens_total") == 20
    assert value(metrics, "drcap_captions_total", domain="city") == 2
    assert value(metrics, "drcap_stage_seconds_sum", stage="total") == 1.0
    assert value(metrics, "drcap_stage_seconds_count", stage="search") == 1


def test_domains_beyond_the_bound_are_counted_together() -> None:
    metrics = Metrics(domains=2)
    for domain in ("a", "b", "c", "d", "a", "c"):
        metrics.count_caption(1.0, {}, domain)
    assert value(metrics, "drcap_captions_total", domain="a") == 2
    assert value(metrics, "drcap_captions_total", domain="b") == 1
    assert value(metrics, "drcap_captions_total", domain="other") == 3
    assert ("drcap_captions_total", frozenset({("domain", "c")})) not in samples(metrics)


def test_captions_of_domains_share_the_bound_and_what_is_gone_is_not_shown() -> None:
    metrics = Metrics(domains=2)
    metrics.set_domains({"a": 10, "b": 20, "c": 30, "d": 40})
    assert value(metrics, "drcap_domain_captions", domain="other") == 70
    metrics.set_domains({"a": 11, "c": 30})
    assert value(metrics, "drcap_domain_captions", domain="a") == 11
    assert value(metrics, "drcap_domain_captions", domain="other") == 30
    assert value(metrics, "drcap_domains") == 2
    assert ("drcap_domain_captions", frozenset({("domain", "b")})) not in samples(metrics)


def test_every_reason_to_turn_a_request_away_is_shown_before_it_first_happens() -> None:
    metrics = Metrics()
    for reason in ("full", "rate", "deadline", "client-gone", "too-large", "not-ready"):
        assert value(metrics, "drcap_rejections_total", reason=reason) == 0


@pytest.mark.parametrize(
    ("status", "slug", "reason"),
    [
        (503, "overloaded", "full"),
        (503, "not-ready", "not-ready"),
        (503, "model-failed", "model"),
        (429, "whatever", "rate"),
        (413, "too-large", "too-large"),
        (504, "deadline-passed", "deadline"),
        (499, "client-gone", "client-gone"),
        (401, "whatever", "key"),
        (403, "whatever", "key"),
    ],
)
def test_a_problem_document_says_why_a_request_was_turned_away(status: int, slug: str, reason: str) -> None:
    metrics = Metrics()
    metrics.count_problem(status, slug)
    counted = {key: number for key, number in samples(metrics).items() if key[0] == "drcap_rejections_total" and number}
    assert counted == {("drcap_rejections_total", frozenset({("reason", reason)})): 1.0}


def test_a_datastore_that_does_not_answer_is_an_error_and_no_rejection() -> None:
    metrics = Metrics()
    metrics.count_problem(503, "datastore-unavailable")
    assert value(metrics, "drcap_datastore_errors_total") == 1
    assert not any(number for key, number in samples(metrics).items() if key[0] == "drcap_rejections_total")


def test_a_request_that_is_merely_wrong_is_no_rejection() -> None:
    metrics = Metrics()
    before = samples(metrics)
    metrics.count_problem(400, "bad-field")
    metrics.count_problem(404, "unknown-domain")
    changed = {key for key, number in samples(metrics).items() if number != before[key] and key[0].startswith("drcap_")}
    assert changed == set()


def test_every_slug_that_is_told_apart_is_one_the_service_answers_with() -> None:
    assert {*labels.BY_SLUG, labels.DATASTORE_SLUG} <= slugs()
    assert errors.Overloaded.slug in labels.BY_SLUG


def test_a_queue_is_an_observer_of_the_batcher_and_counts_under_its_name() -> None:
    metrics = Metrics()
    observer: Observer = metrics.queue("clap")
    observer.depth(3)
    observer.waited(0.2)
    observer.ran(4, 9.0, 0.5)
    observer.retried("memory")
    observer.restarted()
    assert value(metrics, "drcap_queue_depth", queue="clap") == 3
    assert value(metrics, "drcap_queue_wait_seconds_sum", queue="clap") == 0.2
    assert value(metrics, "drcap_batch_size_sum", queue="clap") == 4
    assert value(metrics, "drcap_batch_cost_sum", queue="clap") == 9
    assert value(metrics, "drcap_batch_seconds_sum", queue="clap") == 0.5
    assert value(metrics, "drcap_batches_retried_total", queue="clap", reason="memory") == 1
    assert value(metrics, "drcap_worker_restarts_total", queue="clap") == 1


def test_two_queues_are_told_apart() -> None:
    metrics = Metrics()
    metrics.queue("clap").depth(3)
    metrics.queue("llm").depth(5)
    assert value(metrics, "drcap_queue_depth", queue="clap") == 3
    assert value(metrics, "drcap_queue_depth", queue="llm") == 5


def test_jobs_are_shown_by_state_and_a_state_without_jobs_as_none() -> None:
    metrics = Metrics()
    metrics.set_jobs(["queued", "running", "queued"])
    metrics.set_jobs(["running", "failed"])
    shown = {state.value: value(metrics, "drcap_jobs", state=state.value) for state in JobState}
    assert shown == {"queued": 0, "running": 1, "succeeded": 0, "failed": 1, "cancelled": 0}


def test_registrations_count_their_outcome_and_where_the_vectors_came_from() -> None:
    metrics = Metrics()
    metrics.count_registration("succeeded", embedded=30, reused=70)
    metrics.count_registration("failed", embedded=5)
    assert value(metrics, "drcap_registrations_total", outcome="succeeded") == 1
    assert value(metrics, "drcap_registrations_total", outcome="failed") == 1
    assert value(metrics, "drcap_registered_captions_total", source="embedded") == 35
    assert value(metrics, "drcap_registered_captions_total", source="reused") == 70


def test_the_model_is_shown_once_and_with_what_it_is_now() -> None:
    metrics = Metrics()
    assert families(metrics)["drcap_model_info"].samples == []
    metrics.set_model(bundle="old", clap="a", llm="b", device="cpu", version="1")
    metrics.set_model(bundle="new", clap="a", llm="b", device="cpu", version="1")
    shown = [dict(labels)["bundle"] for (name, labels) in samples(metrics) if name == "drcap_model_info"]
    assert shown == ["new"]


def test_the_process_the_interpreter_and_the_collector_are_shown() -> None:
    shown = families(Metrics())
    for name in ("process_start_time_seconds", "process_resident_memory_bytes", "process_open_fds"):
        assert name in shown
    assert {"python_info", "python_gc_collections"} <= shown.keys()


def test_every_metric_of_the_service_says_what_it_is() -> None:
    for name, family in families(touched()).items():
        assert family.documentation.strip(), name
        assert family.samples, name


def rows(metrics: Metrics) -> list[tuple[str, str, str, str]]:
    """Name, kind, labels and meaning of every metric of the service, as docs/operations.md lists them."""
    listed = []
    for family in families(metrics).values():
        if not family.name.startswith("drcap_") or family.name.endswith("_created"):
            continue
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label: None for sample in family.samples for label in sample.labels if label != "le"}
        listed.append((f"`{name}`", family.type, ", ".join(labels), family.documentation))
    return listed


def test_the_table_in_the_documentation_is_what_is_exposed() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| (`drcap_\w+`) \| (\w+) \| ([\w, ]*) ?\| (.*) \|$", text, re.MULTILINE)
    assert [(name, kind, labels.strip(), meaning) for name, kind, labels, meaning in shown] == rows(touched())
