"""Traces requests with OpenTelemetry's API, which does nothing outside of a traced request.

Spans go to a provider of the app's own, not to the global one: packages that would trace by themselves stay silent.
"""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.settings import SettingsError, TracingSettings, variable_name
from service.version import drcap_version

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

CLOSING_SECONDS = 3.0
_NAME = "drcap"
_TRACER = context.create_key("drcap-tracer")

logger = logging.getLogger(__name__)
Value = str | int | float


class Tracing:
    """Makes the spans of requests and hands them to a provider."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(_NAME, drcap_version())

    @contextmanager
    def request(self, headers: Mapping[str, str]) -> Iterator[trace.Span]:
        """Open the span of a request, in the trace that its ``traceparent`` names or in a new one."""
        parent = TraceContextTextMapPropagator().extract(headers)
        span = self._tracer.start_span("request", parent, kind=trace.SpanKind.SERVER)
        with _inside(span, context.set_value(_TRACER, self._tracer)):
            yield span

    def close(self) -> None:
        """Send the last spans. A collector that hangs is left behind, with a thread that ends with the process."""
        thread = threading.Thread(target=self._provider.shutdown, name="tracing-close", daemon=True)
        thread.start()
        thread.join(CLOSING_SECONDS)
        if thread.is_alive():
            logger.warning("the last spans could not be handed over within %g s", CLOSING_SECONDS)


def open_tracing(settings: TracingSettings) -> Tracing | None:
    """Return tracing to the collector of the settings, or None. Raises `SettingsError` without the extra ``otel``."""
    if settings.endpoint is None:
        return None
    try:
        # The SDK is imported only when it is used.
        from service.monitoring.trace_export import provider_for
    except ImportError as error:
        setting = variable_name("tracing", "endpoint")
        raise SettingsError(f"{setting} needs OpenTelemetry: pip install 'drcap[otel]' ({error})") from error
    return Tracing(provider_for(settings.endpoint))


@contextmanager
def span(name: str) -> Iterator[None]:
    """Open a span inside the current one. Do nothing outside of a traced request."""
    tracer = context.get_value(_TRACER)
    if not isinstance(tracer, trace.Tracer):
        yield
        return
    with _inside(tracer.start_span(name)):
        yield


def note(name: str, value: Value) -> None:
    """Set an attribute of the current span."""
    trace.get_current_span().set_attribute(f"{_NAME}.{name}", value)


def add(name: str, value: float) -> None:
    """Add to an attribute of the current span."""
    attributes = getattr(trace.get_current_span(), "attributes", None) or {}
    note(name, attributes.get(f"{_NAME}.{name}", 0.0) + value)


def trace_id(span: trace.Span) -> str:
    """Return the 32 hex digits of a span's trace."""
    return trace.format_trace_id(span.get_span_context().trace_id)


def answered(span: trace.Span, method: str, route: str, status: int, notes: Mapping[str, Value]) -> None:
    """Name the span of a request and describe its answer, as OpenTelemetry's conventions for HTTP servers do."""
    span.update_name(f"{method} {route}")
    span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
    span.set_attributes({f"{_NAME}.{name}": value for name, value in notes.items()})
    if status >= 500:
        span.set_status(trace.StatusCode.ERROR)


@contextmanager
def _inside(span: trace.Span, base: context.Context | None = None) -> Iterator[None]:
    """Make a span current and end it. It records only the kind of an error: a message may quote a client."""
    token = context.attach(trace.set_span_in_context(span, base))
    try:
        yield
    except BaseException as error:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(trace.StatusCode.ERROR)
        raise
    finally:
        context.detach(token)
        span.end()
