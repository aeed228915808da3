"""Tracing with OpenTelemetry's SDK. Needs the extra ``otel``.

A provider of its own, not the global one: other packages that would trace by themselves stay silent. What the SDK
reads from ``OTEL_`` variables (sampler, resource, headers and timeout of the exporter, sizes of its queue) holds.
"""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.monitoring.tracing import Span, Value
from service.version import drcap_version

CLOSING_SECONDS = 3.0
_NAME = "drcap"
_PATH = "/v1/traces"

logger = logging.getLogger(__name__)


def otlp_tracing(endpoint: str) -> "OtelTracing":
    """Tracing to a collector that speaks OTLP over HTTP at the base URL `endpoint`."""
    url = endpoint.rstrip("/") + _PATH
    return OtelTracing(BatchSpanProcessor(_Told(OTLPSpanExporter(endpoint=url), url)))


class OtelTracing:
    """A `Tracing` that ends in a span processor."""

    def __init__(self, processor: SpanProcessor) -> None:
        # At exit is too late and takes as long as it likes: `close` is called.
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(_NAME, drcap_version())
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, headers: Mapping[str, str]) -> Iterator[Span]:
        """The span of a request; it is named when it is answered."""
        parent = self._propagator.extract(headers)
        span = self._tracer.start_span("request", parent, kind=trace.SpanKind.SERVER)
        with _ended(span):
            yield _OtelSpan(self._tracer, span)

    def close(self) -> None:
        """Hand over what is left. A collector that hangs is left behind, with a thread that ends with the process."""
        thread = threading.Thread(target=self._provider.shutdown, name="tracing-close", daemon=True)
        thread.start()
        thread.join(CLOSING_SECONDS)
        if thread.is_alive():
            logger.warning("the last spans could not be handed over within %g s", CLOSING_SECONDS)


class _OtelSpan:
    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span
        self._sums: dict[str, float] = {}

    @property
    def trace_id(self) -> str:
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    @contextmanager
    def child(self, name: str) -> Iterator[Span]:
        span = self._tracer.start_span(name, trace.set_span_in_context(self._span))
        with _ended(span):
            yield _OtelSpan(self._tracer, span)

    def note(self, name: str, value: Value) -> None:
        self._span.set_attribute(f"{_NAME}.{name}", value)

    def add(self, name: str, value: float) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + value
        self.note(name, self._sums[name])

    def answered(self, method: str, route: str, status: int) -> None:
        """Names as of OpenTelemetry's conventions for HTTP servers."""
        self._span.update_name(f"{method} {route}")
        self._span.set_attributes(
            {"http.request.method": method, "http.route": route, "http.response.status_code": status}
        )
        if status >= 500:
            self._span.set_status(trace.StatusCode.ERROR)


@contextmanager
def _ended(span: trace.Span) -> Iterator[None]:
    """End a span with the context; of what it raises only the kind is told, for a message may quote a client."""
    try:
        yield
    except BaseException as error:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(trace.StatusCode.ERROR)
        raise
    finally:
        span.end()


class _Told(SpanExporter):
    """Says once that spans cannot be sent and once that they can again, where the SDK says it over and over."""

    def __init__(self, exporter: SpanExporter, url: str) -> None:
        self._exporter = exporter
        self._url = url
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        failing = result is not SpanExportResult.SUCCESS
        if failing and not self._failing:
            logger.warning("spans cannot be sent to %s and are dropped until it answers", self._url)
        elif self._failing and not failing:
            logger.info("spans are sent to %s again", self._url)
        self._failing = failing
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _resource() -> Resource:
    """What the SDK finds out and ``OTEL_`` variables say, and our name where they say none."""
    found = Resource.create()
    if str(found.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        found = found.merge(Resource({SERVICE_NAME: _NAME}))
    return Resource({SERVICE_VERSION: drcap_version()}).merge(found)
