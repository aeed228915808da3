"""Spans as OpenTelemetry's SDK hands them over, and what becomes of them when nobody takes them."""

import logging
import socket
import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.captioning.stopwatch import Stopwatch
from service.monitoring import tracing as tracing_module
from service.monitoring.trace_export import ReportingExporter, provider_of
from service.monitoring.tracing import Tracing, add, answered, note, open_tracing, span, trace_id
from service.settings import SettingsError, TracingSettings

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Tracing:
    return Tracing(provider_of(SimpleSpanProcessor(exporter)))


def by_name(spans: Sequence[ReadableSpan]) -> dict[str, ReadableSpan]:
    return {one.name: one for one in spans}


def inside(child: ReadableSpan, parent: ReadableSpan) -> bool:
    assert parent.context is not None
    return child.parent is not None and child.parent.span_id == parent.context.span_id


def test_the_stages_of_a_stopwatch_are_spans_inside_each_other(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    watch = Stopwatch()
    with tracing.request({}) as request:
        with watch.stage("search"), span("network"):
            note("tries", 2)
            add("queue_seconds", 0.25)
            add("queue_seconds", 0.5)
        watch.stop()
        answered(request, "POST", "/caption", 200, {})
    spans = by_name(exporter.get_finished_spans())
    assert set(spans) == {"POST /caption", "search", "network"}
    assert inside(spans["network"], spans["search"])
    assert inside(spans["search"], spans["POST /caption"])
    assert spans["POST /caption"].kind is trace.SpanKind.SERVER
    assert spans["network"].attributes == {"drcap.tries": 2, "drcap.queue_seconds": 0.75}
    assert set(watch.seconds) == {"search", "total"}


def test_a_span_is_in_the_trace_that_the_request_names(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with tracing.request({"traceparent": f"00-{TRACE}-{PARENT}-01"}) as request:
        assert trace_id(request) == TRACE
    (one,) = exporter.get_finished_spans()
    assert one.parent is not None
    assert f"{one.parent.span_id:016x}" == PARENT


@pytest.mark.parametrize(
    "wrong", ["", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "ff-x", f"00-{TRACE}", f"00-{TRACE}-{PARENT}-01" * 9, "é"]
)
def test_a_wrong_traceparent_begins_a_trace_of_its_own(tracing: Tracing, wrong: str) -> None:
    with tracing.request({"traceparent": wrong}) as request:
        assert trace_id(request) not in ("0" * 32, TRACE)


def test_what_the_client_does_not_want_sampled_is_not(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with tracing.request({"traceparent": f"00-{TRACE}-{PARENT}-00"}) as request, span("search"):
        assert trace_id(request) == TRACE
    assert exporter.get_finished_spans() == ()


def test_a_failure_is_told_by_its_kind_alone(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="secret"), tracing.request({}), span("search"):
        raise ValueError("secret")
    for one in exporter.get_finished_spans():
        assert one.status.status_code is trace.StatusCode.ERROR
        assert one.attributes == {"error.type": "ValueError"}
        assert "secret" not in one.to_json()


@pytest.mark.parametrize(("status", "failed"), [(200, False), (413, False), (500, True), (503, True)])
def test_a_request_has_failed_when_the_service_has(
    tracing: Tracing, exporter: InMemorySpanExporter, status: int, failed: bool
) -> None:
    with tracing.request({}) as request:
        answered(request, "GET", "/domains", status, {})
    (one,) = exporter.get_finished_spans()
    assert (one.status.status_code is trace.StatusCode.ERROR) == failed


def test_without_a_request_there_are_no_spans_and_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        name for name in sys.modules if name.startswith(("opentelemetry.sdk", "service.monitoring.trace_export"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    assert open_tracing(TracingSettings()) is None
    with span("search"):
        note("tries", 2)
        add("queue_seconds", 1.0)
    assert not [name for name in sys.modules if name.startswith("opentelemetry.sdk")]


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "service.monitoring.trace_export")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"DRCAP_TRACING__ENDPOINT needs .* pip install 'drcap\[otel\]'"):
        open_tracing(TracingSettings(endpoint="http://127.0.0.1:4318"))


def test_the_service_has_a_name_unless_the_standard_variables_say_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def name() -> object:
        exporter = InMemorySpanExporter()
        with Tracing(provider_of(SimpleSpanProcessor(exporter))).request({}):
            pass
        return exporter.get_finished_spans()[0].resource.attributes["service.name"]

    assert name() == "drcap"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "captions-berlin")
    assert name() == "captions-berlin"


class Collector:
    """Takes traces over HTTP, and answers as it is told."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []
        self.status = 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.taken.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(collector.status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def test_a_collector_gets_what_is_left_at_the_end() -> None:
    collector = Collector()
    try:
        tracing = open_tracing(TracingSettings(endpoint=f"{collector.url}/"))
        assert tracing is not None
        with tracing.request({}) as request:
            answered(request, "POST", "/caption", 200, {})
        tracing.close()
    finally:
        collector.stop()
    ((path, body),) = collector.taken
    assert path == "/v1/traces"
    assert b"POST /caption" in body


def test_a_collector_that_hangs_keeps_neither_a_request_nor_the_end_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing_module, "CLOSING_SECONDS", 0.3)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tracing = open_tracing(TracingSettings(endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}"))
        assert tracing is not None
        started = time.monotonic()
        for _ in range(3000):  # more than its queue takes
            with tracing.request({}):
                pass
        tracing.close()
        assert time.monotonic() - started < 8


class Moody(SpanExporter):
    """Answers as it is told."""

    result = SpanExportResult.FAILURE

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self.result


def test_that_spans_cannot_be_sent_is_said_once_and_that_they_can_again(caplog: pytest.LogCaptureFixture) -> None:
    moody = Moody()
    tracing = Tracing(provider_of(SimpleSpanProcessor(ReportingExporter(moody, "http://collector/v1/traces"))))
    with caplog.at_level(logging.INFO, "service.monitoring.trace_export"):
        for result in (moody.result, moody.result, SpanExportResult.SUCCESS, SpanExportResult.SUCCESS, moody.result):
            moody.result = result
            with tracing.request({}):
                pass
    said = [one.getMessage().partition(" http")[0] for one in caplog.records if "//collector/" in one.getMessage()]
    assert said == ["spans cannot be sent to", "spans are sent to", "spans cannot be sent to"]
