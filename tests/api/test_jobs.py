"""Registrations as jobs, over HTTP."""

import asyncio
import gzip
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from datastores.base import FloatArray
from service.settings import AdmissionSettings, CorpusSettings, JobsSettings, Settings
from tests.api.conftest import CITY, serving
from tests.api.test_caption import assert_problem
from tests.fakes import FakeBundle, FakeClap
from tests.memory_store import MemoryStore

LINES = "tone 4 anew\na bus stops\n"


class GatedClap(FakeClap):
    """Embeds text once its gate is open, as a large corpus would keep it busy."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked = threading.Event()

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        self.asked.set()
        assert self.gate.wait(20)
        return super().embed_text(texts)


@pytest.fixture
def clap() -> Iterator[GatedClap]:
    clap = GatedClap()
    yield clap
    clap.gate.set()


@pytest.fixture
async def slow(store: MemoryStore, clap: GatedClap) -> AsyncIterator[httpx.AsyncClient]:
    """The app with two domains and a CLAP that waits for its gate."""
    async with serving(store, FakeBundle(clap=clap)) as client:
        yield client
        clap.gate.set()


async def until(client: httpx.AsyncClient, job: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    for _ in range(4000):
        body: dict[str, Any] = (await client.get(f"/jobs/{job}")).json()
        if reached(body):
            return body
        await asyncio.sleep(0.005)
    raise AssertionError(body)


def finished(body: dict[str, Any]) -> bool:
    return body["state"] in ("succeeded", "failed", "cancelled")


async def put(client: httpx.AsyncClient, name: str, body: str = LINES, query: str = "") -> str:
    answer = await client.put(f"/domains/{name}{query}", content=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def files(folder: Path) -> set[str]:
    return {path.suffix for path in folder.iterdir()} - {""}


def parts(folder: Path) -> list[Path]:
    return list(folder.glob("*.part"))


async def test_a_registration_is_answered_at_once_with_its_job(slow: httpx.AsyncClient, clap: GatedClap) -> None:
    answer = await slow.put("/domains/bus", content=LINES)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert (job["kind"], job["domain"], job["finished"], job["result"]) == ("register", "bus", None, None)
    assert job["progress"]["bytes_total"] == len(LINES)
    assert_problem(await slow.get("/domains/bus"), 404, "unknown-domain")
    clap.gate.set()
    done = await until(slow, job["id"], finished)
    assert done["state"] == "succeeded"
    assert done["result"]["captions"] == 2
    assert (done["progress"]["stage"], done["progress"]["stored"], done["progress"]["bytes_read"]) == ("done", 2, 24)
    assert (await slow.get("/domains/bus")).json()["version"] == done["result"]["version"]


async def test_a_running_job_tells_how_far_it_is(slow: httpx.AsyncClient, clap: GatedClap) -> None:
    job = await put(slow, "city", "\n".join([*CITY, "a bus stops"]))
    await asyncio.to_thread(clap.asked.wait, 20)
    body = await until(slow, job, lambda one: one["state"] == "running")
    progress = body["progress"]
    assert (progress["stage"], progress["captions_read"], progress["reused"]) == ("embedding", 5, 4)
    assert (progress["embedded"], progress["stored"]) == (0, 0)
    assert progress["rate"] > 0
    assert progress["eta_seconds"] >= 0


async def test_jobs_are_listed_the_newest_first(slow: httpx.AsyncClient, clap: GatedClap) -> None:
    first, second = await put(slow, "bus"), await put(slow, "tram")
    assert [one["id"] for one in (await slow.get("/jobs")).json()["jobs"]] == [second, first]
    clap.gate.set()
    await until(slow, first, finished)
    await until(slow, second, finished)
    assert [one["state"] for one in (await slow.get("/jobs")).json()["jobs"]] == ["succeeded", "succeeded"]


async def test_a_cancelled_job_leaves_the_old_version(
    slow: httpx.AsyncClient, clap: GatedClap, jobs_folder: Path
) -> None:
    job = await put(slow, "city")
    await asyncio.to_thread(clap.asked.wait, 20)
    cancelled = await slow.delete(f"/jobs/{job}")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    again = await slow.delete(f"/jobs/{job}")
    assert (again.status_code, again.json()) == (200, cancelled.json())
    assert (await slow.get("/domains/city")).json()["version"] == "v1"
    assert files(jobs_folder) == {".json"}
    clap.gate.set()
    assert (await slow.put("/domains/city?wait=true", content=LINES)).status_code == 200


async def test_a_job_that_waits_for_its_turn_is_cancelled_too(store: MemoryStore, clap: GatedClap) -> None:
    settings = Settings(admission=AdmissionSettings(registrations=1))
    async with serving(store, FakeBundle(clap=clap), settings) as client:
        first = await put(client, "bus")
        await asyncio.to_thread(clap.asked.wait, 20)
        second = await put(client, "tram")
        assert (await client.get(f"/jobs/{second}")).json()["state"] == "queued"
        assert (await client.delete(f"/jobs/{second}")).json()["state"] == "cancelled"
        third = await put(client, "tram")
        clap.gate.set()
        assert (await until(client, first, finished))["state"] == "succeeded"
        assert (await until(client, third, finished))["state"] == "succeeded"


async def test_a_finished_job_cannot_be_cancelled(client: httpx.AsyncClient) -> None:
    job = await put(client, "bus")
    await until(client, job, finished)
    assert_problem(await client.delete(f"/jobs/{job}"), 409, "job-finished", job, "succeeded")
    assert (await client.get("/domains/bus")).status_code == 200


async def test_an_unknown_job_is_404(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get("/jobs/nothing"), 404, "unknown-job", "nothing")
    assert_problem(await client.delete("/jobs/nothing"), 404, "unknown-job")


async def test_a_domain_has_one_job_at_a_time(slow: httpx.AsyncClient, clap: GatedClap) -> None:
    job = await put(slow, "city")
    for answer in (
        await slow.put("/domains/city", content=LINES),
        await slow.post("/domains/city/captions", content=LINES),
        await slow.delete("/domains/city"),
    ):
        assert_problem(answer, 409, "domain-busy", job)
    assert (await slow.put("/domains/bus", content=LINES)).status_code == 202


async def test_more_jobs_than_may_wait_are_refused_with_the_setting(
    store: MemoryStore, clap: GatedClap, jobs_folder: Path
) -> None:
    settings = Settings(admission=AdmissionSettings(registrations=1), jobs=JobsSettings(path=jobs_folder, waiting=1))
    async with serving(store, FakeBundle(clap=clap), settings) as client:
        first, second = await put(client, "bus"), await put(client, "tram")
        refused = await client.put("/domains/ferry", content=LINES)
        assert_problem(refused, 503, "overloaded", "DRCAP_JOBS__WAITING")
        assert refused.headers["retry-after"] == "2"
        clap.gate.set()
        for job in (first, second):
            await until(client, job, finished)
        await until(client, await put(client, "ferry"), finished)


async def test_what_is_no_corpus_is_refused_before_there_is_a_job(client: httpx.AsyncClient, jobs_folder: Path) -> None:
    put = await client.put("/domains/bus", content=b"PK", headers={"content-type": "application/zip"})
    assert_problem(put, 415, "not-a-corpus")
    assert (await client.get("/jobs")).json() == {"jobs": []}
    assert files(jobs_folder) == set()


async def test_a_job_fails_with_the_problem_that_waiting_would_have_answered(client: httpx.AsyncClient) -> None:
    bad, headers = b'{"caption": "a"}\n{\n', {"content-type": "application/x-ndjson", "x-request-id": "mine"}
    waited = await client.put("/domains/city?wait=true", content=bad, headers=headers)
    job = (await client.put("/domains/city", content=bad, headers=headers)).json()["id"]
    failed = await until(client, job, finished)
    assert failed["state"] == "failed"
    assert failed["problem"] == waited.json()
    assert failed["result"] is None
    assert (await client.get("/domains/city")).json()["version"] == "v1"


async def test_too_large_an_upload_leaves_nothing(store: MemoryStore, jobs_folder: Path) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"a bus stops\n" * 10

    settings = Settings(corpus=CorpusSettings(max_bytes=1000))
    async with serving(store, settings=settings) as client:
        assert_problem(await client.put("/domains/bus", content=body()), 413, "too-large", "DRCAP_CORPUS__MAX_BYTES")
        assert files(jobs_folder) == set()
        assert (await client.put("/domains/bus?wait=true", content=LINES)).status_code == 201


async def test_a_packed_corpus_with_bad_rows_is_taken_as_asked(client: httpx.AsyncClient) -> None:
    rows = [
        '{"words": "a tram"}',
        '{"words": 3}',
        "no json",
        '{"words": "rain"}',
        '{"words": "Rain."}',
        '{"words": ""}',
    ]
    packed = gzip.compress("\n".join(rows).encode())
    query = {"wait": "true", "column": "words", "on_error": "skip"}
    file = {"file": ("corpus.ndjson.gz", packed, "application/octet-stream")}
    put = (await client.put("/domains/bus", params=query, files=file)).json()
    assert (put["captions"], put["received"], put["skipped"], put["duplicates"], put["empty"]) == (2, 6, 2, 1, 1)
    assert len(put["problems"]) == 2
    assert put["problems"][0].startswith("line 2: ")
    wrong = await client.put("/domains/bus?on_error=ignore", content=LINES)
    assert_problem(wrong, 400, "bad-field", "on_error")


async def test_only_what_changed_is_embedded(client: httpx.AsyncClient) -> None:
    body = (await client.put("/domains/city?wait=true", content="\n".join([*CITY, "a bus stops"]))).json()
    assert (body["embedded"], body["reused"], body["captions"]) == (1, 4, 5)


async def test_captions_are_added_to_a_domain(client: httpx.AsyncClient) -> None:
    answer = await client.post("/domains/city/captions?wait=true", content=f"a ferry horn\n{CITY[0]}\nA ferry horn.\n")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["captions"], body["received"], body["duplicates"]) == (5, 3, 2)
    assert (body["embedded"], body["reused"]) == (1, 4)
    found = await client.get("/domains/city/search", params={"q": "a ferry horn", "limit": 1})
    assert found.json()["results"][0]["caption"] == "a ferry horn"
    assert (await client.post("/domains/city/rollback")).json()["captions"] == 4


async def test_captions_are_added_as_a_job(client: httpx.AsyncClient) -> None:
    answer = await client.post("/domains/city/captions", json={"captions": ["a ferry horn"]})
    assert (answer.status_code, answer.json()["kind"]) == (202, "append")
    done = await until(client, answer.json()["id"], finished)
    assert done["result"]["captions"] == 5


async def test_nothing_is_added_to_a_domain_that_is_not_there_or_of_another_clap(store: MemoryStore) -> None:
    clap = FakeClap()
    clap.fingerprint = "fake-2"
    async with serving(store, FakeBundle(clap=clap)) as client:
        assert_problem(await client.post("/domains/bus/captions", content=LINES), 404, "unknown-domain")
        answer = await client.post("/domains/city/captions", content=LINES)
        assert_problem(answer, 409, "fingerprint-mismatch", "fake-1", "fake-2")
        assert (await client.get("/domains/city")).json()["usable"] is False


async def test_a_domain_that_grows_beyond_the_limit_is_refused(store: MemoryStore) -> None:
    settings = Settings(corpus=CorpusSettings(max_captions=5))
    async with serving(store, settings=settings) as client:
        answer = await client.post("/domains/city/captions?wait=true", content=LINES)
        assert_problem(answer, 413, "too-large", "DRCAP_CORPUS__MAX_CAPTIONS")
        assert (await client.get("/domains/city")).json()["captions"] == 4


async def test_a_waiting_client_is_told_that_somebody_cancelled(slow: httpx.AsyncClient, clap: GatedClap) -> None:
    waiting = asyncio.create_task(slow.put("/domains/city?wait=true", content=LINES))
    await asyncio.to_thread(clap.asked.wait, 20)
    [job] = (await slow.get("/jobs")).json()["jobs"]
    await slow.delete(f"/jobs/{job['id']}")
    assert_problem(await waiting, 409, "job-cancelled", job["id"])


async def test_an_upload_waits_for_nothing_in_memory(client: httpx.AsyncClient, jobs_folder: Path) -> None:
    gate, arrived = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        for number in range(200):
            yield b"".join(b"a bus of line %d stops\n" % (100 * number + at) for at in range(100)) * 10
        arrived.set()
        await gate.wait()
        yield b"tone 4\n"

    sending = asyncio.create_task(client.put("/domains/bus", content=body()))
    await arrived.wait()
    [part] = parts(jobs_folder)
    assert part.stat().st_size > 1 << 20
    assert_problem(await client.put("/domains/bus", content=LINES), 409, "domain-busy", "uploading")
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    for _ in range(1000):
        if not part.exists():
            break
        await asyncio.sleep(0.005)
    assert files(jobs_folder) == set()
    gate.set()
    assert (await client.put("/domains/bus?wait=true", content=LINES)).status_code == 201


async def test_the_figures_count_registrations_under_way(slow: httpx.AsyncClient, clap: GatedClap) -> None:
    job = await put(slow, "bus")
    await asyncio.to_thread(clap.asked.wait, 20)
    assert 'drcap_admitted{kind="registrations"} 1.0' in (await slow.get("/metrics")).text
    clap.gate.set()
    await until(slow, job, finished)
    assert 'drcap_admitted{kind="registrations"} 0.0' in (await slow.get("/metrics")).text


async def test_the_documentation_has_the_jobs(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    put = document["paths"]["/domains/{name}"]["put"]["responses"]
    assert {"200", "201", "202", "400", "401", "403", "408", "409", "413", "415", "429", "503", "504"} == set(put)
    assert put["202"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/JobAnswer"}
    assert "Location" in put["202"]["headers"]
    shown = json.dumps(document["components"]["schemas"]["JobAnswer"])
    assert "media_type" not in shown
    assert set(document["paths"]["/jobs/{job}"]) == {"get", "delete"}
