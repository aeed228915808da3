import asyncio
import builtins
import threading

import httpx
import pytest

from datastores.base import DatastoreUnavailable, DomainStore, DomainVersion
from models.bundle.loaded import LoadedBundle
from service.app import create_app
from service.monitoring.metrics import Metrics
from service.runtime import Loaders, running
from service.settings import Settings
from tests.api.conftest import reach, serving
from tests.fakes import FakeBundle
from tests.memory_store import MemoryStore
from tests.recordings import wav


async def open_memory(_: Settings) -> DomainStore:
    return MemoryStore()


async def test_a_service_with_its_parts_is_ready(client: httpx.AsyncClient) -> None:
    assert (await client.get("/readyz")).json() == {"status": "ready", "bundle": "fake"}


async def test_a_service_that_still_loads_lives_and_says_what_is_missing() -> None:
    gate = threading.Event()

    def load_slowly(_: Settings) -> LoadedBundle:
        gate.wait(10)
        return FakeBundle()

    async with reach(create_app(Settings(), Loaders(load_slowly, open_memory))) as client:
        await asyncio.sleep(0)
        assert (await client.get("/livez")).status_code == 200
        answers = [await client.get("/readyz"), await client.post("/caption", content=wav())]
        gate.set()
    for answer in answers:
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:drcap:problem:not-ready"
        assert "the bundle is loading" in answer.json()["detail"]
        assert answer.headers["retry-after"] == "2"


async def test_a_part_that_cannot_be_loaded_is_named() -> None:
    async def open_nothing(_: Settings) -> DomainStore:
        raise DatastoreUnavailable("the folder is locked by another process")

    async with running(Settings(), Loaders(lambda _: FakeBundle(), open_nothing), Metrics()) as runtime:
        await runtime.load()
        assert "locked by another process" in runtime.missing["datastore"]
        assert "bundle" not in runtime.missing


async def test_a_datastore_that_does_not_answer_makes_the_service_unready() -> None:
    class FailingStore(MemoryStore):
        down = False

        async def list(self) -> builtins.list[DomainVersion]:
            if self.down:
                raise DatastoreUnavailable("the datastore does not answer")
            return await super().list()

    store = FailingStore()
    async with serving(store) as client:
        store.down = True
        answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:drcap:problem:datastore-unavailable"
    assert "retry-after" in answer.headers


async def test_every_answer_carries_the_id_of_its_request(client: httpx.AsyncClient) -> None:
    own = await client.get("/livez", headers={"X-Request-ID": "abc-1"})
    assert own.headers["x-request-id"] == "abc-1"
    first, second = await client.get("/livez"), await client.get("/livez")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    unusable = await client.get("/livez", headers={"X-Request-ID": "a b\tc" * 100})
    assert len(unusable.headers["x-request-id"]) == 32


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("PATCH", "/caption", 405)])
async def test_a_wrong_route_is_a_problem_too(client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["instance"] == path
    assert path in answer.json()["detail"]


async def test_metrics_count_requests_by_route_and_status(client: httpx.AsyncClient) -> None:
    await client.post("/caption?domain=city", content=wav(2.0))
    await client.post("/caption?domain=city", content=b"no audio")
    await client.get("/domains/city")
    await client.get("/domains/forest")
    await client.get("/nothing/here")
    lines = (await client.get("/metrics")).text.splitlines()
    assert 'drcap_requests_total{method="POST",route="/caption",status="200"} 1.0' in lines
    assert 'drcap_requests_total{method="POST",route="/caption",status="415"} 1.0' in lines
    assert 'drcap_requests_total{method="GET",route="/domains/{name}",status="200"} 2.0' in lines
    assert 'drcap_requests_total{method="GET",route="unmatched",status="404"} 1.0' in lines
    assert 'drcap_stage_seconds_count{stage="generate"} 1.0' in lines
    assert "drcap_audio_seconds_total 2.0" in lines
    assert 'drcap_admitted{kind="captions"} 0.0' in lines


async def test_two_apps_do_not_share_their_figures(client: httpx.AsyncClient, store: MemoryStore) -> None:
    await client.post("/caption?domain=city", content=wav())
    async with serving(store) as other:
        assert 'route="/caption"' not in (await other.get("/metrics")).text


async def test_the_documentation_shows_examples_and_the_real_errors(client: httpx.AsyncClient) -> None:
    assert (await client.get("/docs")).status_code == 200
    document = (await client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    assert schemas["CaptionAnswer"]["examples"][0]["caption"]
    body = document["paths"]["/caption"]["post"]["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "audio/*", "application/octet-stream"}
    assert "domain" in body["multipart/form-data"]["schema"]["properties"]
    for path, operations in document["paths"].items():
        media_type = "application/json" if path.startswith("/v1/") else "application/problem+json"
        for operation in operations.values():
            assert operation["summary"], path
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert list(response["content"]) == [media_type]
    assert "HTTPValidationError" not in str(document)


async def test_every_reference_of_the_documentation_leads_somewhere(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    references: list[str] = []

    def collect(node: object) -> None:
        if isinstance(node, dict):
            references.extend(value for key, value in node.items() if key == "$ref")
            for value in node.values():
                collect(value)
        elif isinstance(node, list):
            for value in node:
                collect(value)

    collect(document)
    assert len(references) > 10
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references) <= known
