import asyncio
import json
from pathlib import Path

import httpx
import pytest

from datastores.edge.store import EdgeStore
from datastores.registration import register
from tests.api.conftest import CITY, serving
from tests.api.test_caption import assert_problem
from tests.fakes import FakeBundle, FakeClap
from tests.memory_store import MemoryStore
from tests.recordings import wav

NDJSON = "application/x-ndjson"


async def test_domains_are_listed_by_name(client: httpx.AsyncClient) -> None:
    domains = (await client.get("/domains")).json()["domains"]
    assert [(one["name"], one["captions"]) for one in domains] == [("city", 4), ("forest", 3)]


async def test_a_domain_is_described(client: httpx.AsyncClient) -> None:
    body = (await client.get("/domains/city")).json()
    assert body.pop("created").startswith("20")
    assert body == {
        "name": "city",
        "version": "v1",
        "captions": 4,
        "dimension": 64,
        "fingerprint": "fake-1",
        "usable": True,
        "projection_temperature": 0.05,
        "neighbours": 4,
    }


async def test_a_text_finds_the_captions_nearest_to_it(client: httpx.AsyncClient) -> None:
    answer = await client.get("/domains/city/search", params={"q": "rain on the roof", "limit": 2})
    body = answer.json()
    assert [one["caption"] for one in body["results"]][0:1] == ["rain on a roof"]
    assert len(body["results"]) == 2
    assert body["domain_version"] == "v1"


@pytest.mark.parametrize("query", ["", "?q=", "?q=rain&limit=0", "?q=rain&limit=x"])
async def test_a_wrong_search_is_refused(client: httpx.AsyncClient, query: str) -> None:
    assert_problem(await client.get(f"/domains/city/search{query}"), 400, "bad-field")


async def test_a_search_in_a_domain_of_another_clap_is_refused(store: MemoryStore) -> None:
    clap = FakeClap()
    clap.fingerprint = "fake-2"
    async with serving(store, FakeBundle(clap=clap)) as client:
        answer = await client.get("/domains/city/search?q=rain")
        assert_problem(answer, 409, "fingerprint-mismatch", "fake-1", "fake-2")


async def test_a_deleted_domain_is_gone(client: httpx.AsyncClient) -> None:
    assert (await client.delete("/domains/city")).status_code == 204
    assert_problem(await client.get("/domains/city"), 404, "unknown-domain")
    assert_problem(await client.delete("/domains/city"), 404, "unknown-domain")
    assert (await client.get("/domains/forest")).status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("name", ["..%2Fx", "..%2F..%2Fetc%2Fpasswd", "a%2Fb", "..%5Cx"])
async def test_a_path_is_no_domain(client: httpx.AsyncClient, method: str, name: str) -> None:
    answer = await client.request(method, f"http://drcap/domains/{name}", content=b"a caption")
    assert_problem(answer, 400, "invalid-domain-name")


async def test_an_unknown_route_under_a_domain_is_404(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get("/domains/city/nothing"), 404, "not-found")


async def test_a_rollback_serves_the_version_before(client: httpx.AsyncClient) -> None:
    first = (await client.get("/domains/city")).json()["version"]
    put = await client.put("/domains/city?wait=true", json={"captions": ["tone 4 anew"]})
    assert put.status_code == 200
    assert put.json()["version"] != first
    assert (await client.post("/caption?domain=city", content=wav())).json()["caption"] == "Heard: tone 4 anew"
    back = await client.post("/domains/city/rollback")
    assert back.json()["version"] == first
    assert (await client.post("/caption?domain=city", content=wav())).json()["caption"] == f"Heard: {CITY[0]}"
    assert_problem(await client.post("/domains/city/rollback"), 404, "unknown-domain")


async def test_a_domain_is_exported_a_caption_a_line(client: httpx.AsyncClient) -> None:
    answer = await client.get("/domains/city/captions")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert answer.headers["x-domain-version"] == "v1"
    assert [json.loads(line)["caption"] for line in answer.text.splitlines()] == CITY
    again = await client.put("/domains/copy?wait=true", content=answer.content, headers={"content-type": NDJSON})
    assert again.json()["captions"] == len(CITY)


async def test_an_export_is_of_one_version_throughout(tmp_path: Path) -> None:
    store, clap = await EdgeStore.open(tmp_path / "store"), FakeClap()
    await register(store, "city", [f"old {number}" for number in range(3000)], clap)
    async with serving(store) as client:
        runtime_pages: list[str] = []
        async for some in store.entries(await store.resolve("city"), page=1000):
            runtime_pages += [one.caption for one in some]
            if len(runtime_pages) == 1000:
                exported = asyncio.create_task(client.get("/domains/city/captions"))
                for word in ("new", "newer"):
                    await register(store, "city", [f"{word} {number}" for number in range(3)], clap)
        lines = [json.loads(line)["caption"] for line in (await exported).text.splitlines()]
        assert len({line.split()[0] for line in lines}) == 1
        assert runtime_pages == [f"old {number}" for number in range(3000)]
        assert (await client.get("/domains/city")).json()["captions"] == 3


async def test_a_domain_that_is_not_there_is_not_exported(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get("/domains/nowhere/captions"), 404, "unknown-domain")
