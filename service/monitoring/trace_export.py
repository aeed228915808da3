"""Sends spans to a collector with OpenTelemetry's SDK. Needs the extra ``otel``.

The SDK reads the ``OTEL_`` variables: sampler, resource, headers and timeout of the exporter, sizes of its queue.
"""

import logging
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from service.version import drcap_version

logger = logging.getLogger(__name__)


def provider_for(endpoint: str) -> TracerProvider:
    """Return a provider for a collector that speaks OTLP over HTTP at the base URL `endpoint`."""
    url = endpoint.rstrip("/") + "/v1/traces"
    return provider_of(BatchSpanProcessor(ReportingExporter(OTLPSpanExporter(endpoint=url), url)))


def provider_of(processor: SpanProcessor) -> TracerProvider:
    """Return a provider that hands its spans to `processor`, under our name unless ``OTEL_`` variables set another."""
    found = Resource.create()
    if str(found.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        found = found.merge(Resource({SERVICE_NAME: "drcap"}))
    # Nothing is sent at exit, which has no time limit: the app closes its tracing.
    provider = TracerProvider(
        resource=Resource({SERVICE_VERSION: drcap_version()}).merge(found), shutdown_on_exit=False
    )
    provider.add_span_processor(processor)
    return provider


class ReportingExporter(SpanExporter):
    """Logs once that spans cannot be sent and once that they can again. The SDK would log every try."""

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
