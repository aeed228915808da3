"""The trace of a request, from its traceparent to the last stage, and in the log."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.contextvars import get_contextvars

from datastores.base import DatastoreUnavailable, DomainStore, DomainVersion, FloatArray, Neighbour
from service.app import create_app
from service.monitoring.trace_export import provider_of
from service.monitoring.tracing import Tracing
from service.runtime import Loaders
from service.settings import Settings
from tests.api.conftest import reach
from tests.fakes import FakeBundle
from tests.memory_store import MemoryStore
from tests.recordings import wav

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STAGES = ["upload", "decode_audio", "embed_audio", "search", "projection", "generate", "rerank"]


@asynccontextmanager
async def traced(store: DomainStore) -> AsyncIterator[tuple[httpx.AsyncClient, InMemorySpanExporter]]:
    """The app with spans that are kept in memory."""
    exporter = InMemorySpanExporter()

    async def open_store(_: Settings) -> DomainStore:
        return store

    loaders = Loaders(lambda _: FakeBundle(), open_store)
    tracing = Tracing(provider_of(SimpleSpanProcessor(exporter)))
    async with reach(create_app(Settings(), loaders, lambda _: tracing)) as client:
        while (await client.get("/readyz")).status_code != 200:
            pass
        yield client, exporter


def requests(spans: Sequence[ReadableSpan]) -> list[ReadableSpan]:
    return [one for one in spans if " " in one.name]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_every_stage_of_a_caption_is_a_span_of_the_callers_trace(store: MemoryStore) -> None:
    async with traced(store) as (client, exporter):
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "abc"}
        answer = await client.post("/caption?domain=city", content=wav(), headers=headers)
        assert answer.status_code == 200
    spans = exporter.get_finished_spans()
    (request,) = requests(spans)
    assert request.context is not None
    assert request.parent is not None
    assert (request.name, f"{request.parent.span_id:016x}") == ("POST /caption", PARENT)
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.route": "/caption",
        "http.response.status_code": 200,
        "drcap.request_id": "abc",
    }
    stages = [one for one in spans if one is not request]
    assert [one.name for one in stages] == STAGES
    for one in stages:
        assert one.context is not None
        assert one.parent is not None
        assert f"{one.context.trace_id:032x}" == TRACE
        assert one.parent.span_id == request.context.span_id
        assert one.start_time is not None
        assert request.start_time is not None
        assert one.start_time >= request.start_time
    waited = {one.name: attributes(one).get("drcap.queue_seconds") for one in stages}
    assert {name for name, seconds in waited.items() if seconds is not None} == {"embed_audio", "generate"}
    assert all(0 <= seconds < 10 for seconds in waited.values() if seconds is not None)


async def test_a_registration_stays_in_the_trace_of_the_request_that_began_it(store: MemoryStore) -> None:
    async with traced(store) as (client, exporter):
        answer = await client.put("/domains/new?wait=true", json={"captions": ["rain", "wind"]})
        assert answer.status_code == 201
    spans = {one.name: one for one in exporter.get_finished_spans()}
    assert set(spans) == {"PUT /domains/{name}", "upload", "registration"}
    about = attributes(spans["registration"])
    assert (about["drcap.domain"], about["drcap.captions"], about["drcap.embedded"]) == ("new", 2, 2)
    assert len({one.context.trace_id for one in spans.values() if one.context is not None}) == 1


async def test_what_is_logged_meanwhile_names_the_trace(store: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[dict[str, Any]] = []

    class Remembering(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(get_contextvars())

    handler = Remembering()
    logger = logging.getLogger("service.http.middleware")
    logger.addHandler(handler)
    try:
        with caplog.at_level("INFO", logger="service.http.middleware"):
            async with traced(store) as (client, _):
                seen.clear()
                await client.get("/domains", headers={"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "a"})
                await client.get("/domains", headers={"x-request-id": "b"})
    finally:
        logger.removeHandler(handler)
    assert seen[0] == {"request_id": "a", "trace_id": TRACE}
    assert seen[1]["trace_id"] != TRACE
    assert len(seen[1]["trace_id"]) == 32


async def test_probes_leave_no_spans(store: MemoryStore) -> None:
    async with traced(store) as (client, exporter):
        for path in ("/livez", "/readyz", "/metrics"):
            await client.get(path)
        assert exporter.get_finished_spans() == ()


class UnavailableStore(MemoryStore):
    async def search(self, version: DomainVersion, vectors: FloatArray, limit: int) -> list[list[Neighbour]]:
        raise DatastoreUnavailable("the datastore does not answer")


async def test_a_stage_that_fails_is_told_apart(store: MemoryStore) -> None:
    gone = UnavailableStore()
    gone._versions = store._versions
    async with traced(gone) as (client, exporter):
        assert (await client.post("/caption?domain=city", content=wav())).status_code == 503
    spans = {one.name: one for one in exporter.get_finished_spans()}
    assert [name for name, one in spans.items() if not one.status.is_ok and not one.status.is_unset] == [
        "search",
        "POST /caption",
    ]
    assert attributes(spans["search"])["error.type"] == "DatastoreUnavailable"
    assert attributes(spans["POST /caption"])["drcap.problem"] == "datastore-unavailable"


async def test_a_span_holds_nothing_that_was_sent(store: MemoryStore) -> None:
    async with traced(store) as (client, exporter):
        headers = {"Authorization": "Bearer secret-key", "User-Agent": "secret-agent"}
        await client.get("/domains/city/search?q=secret-words", headers=headers)
        await client.post("/caption?domain=secret-domain", content=wav())
    assert "secret" not in "".join(one.to_json() for one in exporter.get_finished_spans())
